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
SELECT c.key AS cell, c.model, c.environment, c.backend, c.settings, c.precision, c.device,
       c.threads, c.batch, c.executor, c.route, c.opset, c.quantisation, c.folding, c.layout,
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
       p.settings AS settings_a, q.settings AS settings_b,
       p.precision AS precision_a, q.precision AS precision_b,
       p.device AS device_a, q.device AS device_b,
       p.executor AS executor_a, q.executor AS executor_b,
       p.route AS route_a, q.route AS route_b,
       p.opset AS opset_a, q.opset AS opset_b,
       p.quantisation AS quantisation_a, q.quantisation AS quantisation_b,
       p.folding AS folding_a, q.folding AS folding_b,
       p.layout AS layout_a, q.layout AS layout_b,
       p.variant AS variant_a, q.variant AS variant_b,
       p.preprocessing AS preprocessing_a, q.preprocessing AS preprocessing_b,
       p.corruption AS corruption_a, q.corruption AS corruption_b,
       p.mistake AS mistake_a, q.mistake AS mistake_b,
       p.role = 'control' OR q.role = 'control' AS control,
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

-- Latency of each cell in each session, in nanoseconds.
CREATE VIEW latency AS
SELECT t.session, t.cell, c.model, c.environment, c.backend, c.settings,
       c.device, c.executor, count(*) AS samples, count(DISTINCT t.round) AS rounds,
       quantile_cont(t.duration_ns, 0.5) AS p50_ns, quantile_cont(t.duration_ns, 0.9) AS p90_ns,
       quantile_cont(t.duration_ns, 0.99) AS p99_ns, avg(t.duration_ns) AS mean_ns
FROM timings t LEFT JOIN cells c ON c.key = t.cell
GROUP BY ALL
ORDER BY t.session, any_value(c.place);

-- t_b / t_a for every two cells of a session: geometric mean over rounds of the ratio of round
-- medians, with a 95 % t interval on its logarithm (as harness.analysis.timing).
CREATE VIEW time_ratios AS
WITH medians AS (
    SELECT session, cell, round, median(duration_ns) AS ns FROM timings GROUP BY ALL
), logs AS (
    SELECT x.session, x.cell AS a, y.cell AS b, avg(ln(y.ns / x.ns)) AS centre,
           stddev_samp(ln(y.ns / x.ns)) AS spread, count(*) AS rounds
    FROM medians x
    JOIN medians y ON y.session = x.session AND y.round = x.round AND y.cell <> x.cell
    WHERE x.ns > 0 AND y.ns > 0
    GROUP BY ALL
)
SELECT l.session, l.a, l.b, p.environment AS environment_a, q.environment AS environment_b,
       p.backend AS backend_a, q.backend AS backend_b,
       p.device AS device_a, q.device AS device_b,
       p.executor AS executor_a, q.executor AS executor_b, l.rounds,
       exp(l.centre) AS ratio,
       exp(l.centre - t.value * l.spread / sqrt(l.rounds)) AS low,
       exp(l.centre + t.value * l.spread / sqrt(l.rounds)) AS high
FROM logs l
LEFT JOIN cells p ON p.key = l.a
LEFT JOIN cells q ON q.key = l.b
LEFT JOIN t_quantiles t ON t.degrees = l.rounds - 1
WHERE coalesce(p.place, 0) < coalesce(q.place, 1)
ORDER BY l.session, p.place, q.place;
