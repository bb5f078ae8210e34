-- What people ask for, over the tables of schema.sql and the views `images`, `answers`, `timings`
-- that the catalogue makes over the bundles' Parquet files.

-- Top-1 and top-5 accuracy over the images with ground truth.
CREATE VIEW accuracy AS
WITH judged AS (
    SELECT a.cell, a.image,
           bool_or(a.rank = 0 AND a.class = i.label AND NOT isnan(a.score)) AS first,
           bool_or(a.rank < 5 AND a.class = i.label AND NOT isnan(a.score)) AS within
    FROM answers a
    JOIN cells c ON c.key = a.cell
    JOIN images i ON i.inputs_key = c.inputs_key AND i.image = a.image
    WHERE i.label IS NOT NULL
    GROUP BY a.cell, a.image
)
SELECT c.key AS cell, c.model, c.environment, c.backend, c.level, c.settings, c.precision,
       c.instruction_set, c.device,
       c.threads, c.batch, c.executor, c.route, c.opset, c.quantisation, c.folding, c.layout, c.optimise,
       c.variant, c.preprocessing, c.corruption, c.mistake,
       c.recipe, c.role, count(*) AS images, avg(j.first::INTEGER) AS top1, avg(j.within::INTEGER) AS top5
FROM judged j JOIN cells c ON c.key = j.cell
GROUP BY ALL
ORDER BY any_value(c.place);

-- The best class of each image in each cell; NULL where the scores hold a NaN.
CREATE VIEW top1 AS
SELECT cell, image, CASE WHEN isnan(score) OR class < 0 THEN NULL ELSE class END AS class, score
FROM answers WHERE rank = 0;

-- Every two cells over the same images and class space, with how many images changed their label.
-- `same_form`: compiled to the very same program; NULL where that of either is not known, or where
-- model or backend differ. `inert`: two that differ in settings, in their level or in what an ONNX
-- optimiser was to do alone, compiled to the same program, with answers equal bit for bit: what
-- they differ in changes nothing.
CREATE VIEW pairs AS
WITH counted AS (
    SELECT x.cell AS a, y.cell AS b, count(*) AS images,
           count(*) FILTER (x.class IS DISTINCT FROM y.class) AS flips
    FROM top1 x
    JOIN cells p ON p.key = x.cell
    JOIN cells q ON q.images_key = p.images_key AND q.classes = p.classes AND p.place < q.place
    JOIN top1 y ON y.cell = q.key AND y.image = x.image
    GROUP BY ALL
)
SELECT n.a, n.b, p.model AS model_a, q.model AS model_b,
       p.environment AS environment_a, q.environment AS environment_b,
       p.backend AS backend_a, q.backend AS backend_b,
       p.level AS level_a, q.level AS level_b,
       p.settings AS settings_a, q.settings AS settings_b,
       p.precision AS precision_a, q.precision AS precision_b,
       p.instruction_set AS instruction_set_a, q.instruction_set AS instruction_set_b,
       p.device AS device_a, q.device AS device_b,
       p.executor AS executor_a, q.executor AS executor_b,
       p.route AS route_a, q.route AS route_b,
       p.opset AS opset_a, q.opset AS opset_b,
       p.quantisation AS quantisation_a, q.quantisation AS quantisation_b,
       p.folding AS folding_a, q.folding AS folding_b,
       p.layout AS layout_a, q.layout AS layout_b,
       p.optimise AS optimise_a, q.optimise AS optimise_b,
       p.variant AS variant_a, q.variant AS variant_b,
       p.preprocessing AS preprocessing_a, q.preprocessing AS preprocessing_b,
       p.corruption AS corruption_a, q.corruption AS corruption_b,
       p.mistake AS mistake_a, q.mistake AS mistake_b,
       p.role = 'control' OR q.role = 'control' AS control,
       CASE WHEN p.model = q.model AND p.backend = q.backend
            THEN p.compiled_sha256 = q.compiled_sha256 END AS same_form,
       coalesce(same_form, false) AND p.answers_sha256 = q.answers_sha256
           AND (p.settings, p.optimise) IS DISTINCT FROM (q.settings, q.optimise)
           AND (p.environment, p.precision, p.instruction_set, p.device, p.device_name, p.threads,
                p.batch, p.executor, p.opset, p.quantisation, p.folding, p.layout, p.variant,
                p.preprocessing, p.corruption, p.mistake, p.recipe)
               IS NOT DISTINCT FROM
               (q.environment, q.precision, q.instruction_set, q.device, q.device_name, q.threads,
                q.batch, q.executor, q.opset, q.quantisation, q.folding, q.layout, q.variant,
                q.preprocessing, q.corruption, q.mistake, q.recipe) AS inert,
       n.images, n.flips, n.flips / n.images AS flip_share
FROM counted n JOIN cells p ON p.key = n.a JOIN cells q ON q.key = n.b
ORDER BY p.place, q.place;

-- The flips of every pair, image by image.
CREATE VIEW flips AS
SELECT x.cell AS a, y.cell AS b, p.model AS model_a, q.model AS model_b,
       p.environment AS environment_a, q.environment AS environment_b,
       p.device AS device_a, q.device AS device_b,
       p.executor AS executor_a, q.executor AS executor_b,
       x.image, i.name, i.label, x.class AS class_a, y.class AS class_b,
       ca.name AS class_a_name, cb.name AS class_b_name
FROM top1 x
JOIN cells p ON p.key = x.cell
JOIN cells q ON q.images_key = p.images_key AND q.classes = p.classes AND p.place < q.place
JOIN top1 y ON y.cell = q.key AND y.image = x.image AND y.class IS DISTINCT FROM x.class
LEFT JOIN images i ON i.inputs_key = p.inputs_key AND i.image = x.image
LEFT JOIN classes ca ON ca.inputs_key = p.inputs_key AND ca.class = x.class
LEFT JOIN classes cb ON cb.inputs_key = p.inputs_key AND cb.class = y.class
ORDER BY p.place, q.place, x.image;

-- Latency of each cell in each session, in nanoseconds a query, and throughput. `valid` is false
-- where a time is INVALID (`time_reasons` says why) and NULL where it was never judged.
CREATE VIEW latency AS
SELECT t.session, s.scenario, t.cell, c.model, c.environment, c.backend, c.level, c.settings,
       c.instruction_set, c.device, c.executor, any_value(m.valid) AS valid,
       count(*) AS samples, count(DISTINCT t.round) AS rounds,
       quantile_cont(t.duration_ns, 0.5) AS p50_ns, quantile_cont(t.duration_ns, 0.9) AS p90_ns,
       quantile_cont(t.duration_ns, 0.95) AS p95_ns, quantile_cont(t.duration_ns, 0.99) AS p99_ns,
       avg(t.duration_ns) AS mean_ns, min(t.duration_ns) AS min_ns, max(t.duration_ns) AS max_ns,
       stddev_samp(t.duration_ns) AS std_ns,
       any_value(coalesce(m.batch, c.batch, 1)) AS batch,
       1e9 / avg(t.duration_ns) AS queries_per_second,
       any_value(coalesce(m.batch, c.batch, 1)) * 1e9 / avg(t.duration_ns) AS images_per_second
FROM timings t
LEFT JOIN sessions s ON s.id = t.session
LEFT JOIN session_members m ON m.session = t.session AND m.key = t.cell
LEFT JOIN cells c ON c.key = t.cell
GROUP BY ALL
ORDER BY t.session, any_value(c.place);

-- t_b / t_a, an image, for every two cells of a session: geometric mean over rounds of the ratio
-- of round medians, with a 95 % t interval on its logarithm, widened where rounds resemble their
-- neighbours (as harness.analysis.time_ratio, which says why). `floor` is the recorded noise floor,
-- or what the A/A control came out apart if that is more. Tests and verdicts, which take a whole
-- family, are in `harness sweep --json`.
CREATE VIEW time_ratios AS
WITH medians AS (
    SELECT t.session, t.cell, t.round, median(t.duration_ns) / any_value(coalesce(m.batch, 1)) AS ns
    FROM timings t LEFT JOIN session_members m ON m.session = t.session AND m.key = t.cell
    GROUP BY ALL
), ratios AS (
    SELECT x.session, x.cell AS a, y.cell AS b, x.round, ln(y.ns / x.ns) AS log
    FROM medians x
    JOIN medians y ON y.session = x.session AND y.round = x.round AND y.cell <> x.cell
    WHERE x.ns > 0 AND y.ns > 0
), centred AS (
    SELECT *, log - avg(log) OVER pair AS rest,
           lag(log) OVER (pair ORDER BY round) - avg(log) OVER pair AS before
    FROM ratios WINDOW pair AS (PARTITION BY session, a, b)
), logs AS (
    SELECT session, a, b, avg(log) AS centre, stddev_samp(log) AS spread, count(*) AS rounds,
           CASE WHEN count(*) < 8 OR sum(rest * rest) <= count(*) * 1e-24 THEN 0
                ELSE greatest(0, least(0.9,
                     (sum(rest * before) / sum(rest * rest) + 1 / count(*)) / (1 - 3 / count(*))))
           END AS alike
    FROM centred GROUP BY ALL
), errors AS (
    SELECT *, sqrt((1 + alike) / (1 - alike)) * spread / sqrt(rounds) AS error FROM logs
)
SELECT l.session, s.scenario, l.a, l.b,
       p.environment AS environment_a, q.environment AS environment_b,
       p.backend AS backend_a, q.backend AS backend_b,
       p.instruction_set AS instruction_set_a, q.instruction_set AS instruction_set_b,
       p.device AS device_a, q.device AS device_b,
       p.executor AS executor_a, q.executor AS executor_b, l.rounds,
       exp(l.centre) AS ratio,
       exp(l.centre - t.value * l.error) AS low,
       exp(l.centre + t.value * l.error) AS high,
       CASE WHEN l.a IN (s.reference, s.control) AND l.b IN (s.reference, s.control)
            THEN coalesce(s.floor, 0.01)
            ELSE greatest(coalesce(s.floor, 0.01), exp(abs(k.centre)) - 1) END AS floor,
       m.ratios_valid AND n.ratios_valid AS valid
FROM errors l
LEFT JOIN sessions s ON s.id = l.session
LEFT JOIN errors k ON k.session = l.session AND k.a = s.reference AND k.b = s.control
LEFT JOIN session_members m ON m.session = l.session AND m.key = l.a
LEFT JOIN session_members n ON n.session = l.session AND n.key = l.b
LEFT JOIN cells p ON p.key = l.a
LEFT JOIN cells q ON q.key = l.b
LEFT JOIN t_quantiles t ON t.degrees = l.rounds - 1
WHERE coalesce(p.place, 0) < coalesce(q.place, 1)
ORDER BY l.session, p.place, q.place;
