-- The catalogue's tables: small facts copied from the bundles' JSON documents.
-- Large data (top-k lists, samples, image names) stay in the bundles' Parquet files; see views.sql.

CREATE TABLE meta (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);

CREATE TABLE problems (path VARCHAR NOT NULL, message VARCHAR NOT NULL);

CREATE TABLE cells (
    key VARCHAR PRIMARY KEY,
    place INTEGER NOT NULL,          -- by model, environment, backend, settings, executor, key
    model VARCHAR,
    environment VARCHAR,
    stack VARCHAR,
    version VARCHAR,
    backend VARCHAR,
    level VARCHAR,                   -- own, basic, default, extended or tuned: of optimisation
    settings VARCHAR,                -- as "name=value name=value", those of the level included
    precision VARCHAR,
    instruction_set VARCHAR,         -- the highest of the processor's that may run; own: what it has
    device VARCHAR,
    device_name VARCHAR,
    threads INTEGER,
    batch INTEGER,
    executor VARCHAR,
    repeat INTEGER,
    role VARCHAR,                    -- cell or control
    route VARCHAR,
    converted_in VARCHAR,            -- the environment of the route's last step
    opset VARCHAR,                   -- asked of the conversions; own: left to them
    quantisation VARCHAR,            -- none, dynamic, static or float16
    folding VARCHAR,                 -- true, false or own
    layout VARCHAR,                  -- nchw, nhwc or own
    optimise VARCHAR,                -- the ONNX optimiser that the file went through, or none
    variant VARCHAR,                 -- how the network is built, as "name=value name=value"
    preprocessing VARCHAR,           -- who made the pixels
    corruption VARCHAR,
    mistake VARCHAR,
    recipe VARCHAR,
    images_key VARCHAR,              -- the same images, whoever made their pixels
    inputs_key VARCHAR,              -- as the newest sweep that lists the cell has it
    class_offset INTEGER,
    kind VARCHAR,                    -- logits, probabilities or values
    classes INTEGER,                 -- after the class offset; NULL without class scores
    images INTEGER,
    nonfinite BIGINT,
    load_ns BIGINT,
    compile_ns BIGINT,
    first_inference_ns BIGINT,
    answers_ns BIGINT,               -- all images, transport included
    compile_peak_mib DOUBLE,         -- the most memory while it loaded and compiled
    compile_cache VARCHAR,           -- none, cold or warm
    compiled_form VARCHAR,           -- what it was compiled to: onnx, tir, hlo …
    compiled_sha256 VARCHAR,         -- of all that is executed, constants included
    operator_count INTEGER,
    code_bytes BIGINT,
    compiled_absent VARCHAR,         -- why there is no hash; NULL also where nobody asked
    answers_sha256 VARCHAR,          -- equal for answers that are equal bit for bit
    path VARCHAR NOT NULL
);

-- What models were compiled to: operators by kind, and the passes that ran, in order.
CREATE TABLE operators (key VARCHAR NOT NULL, kind VARCHAR NOT NULL, number INTEGER);

CREATE TABLE passes (key VARCHAR NOT NULL, place INTEGER, name VARCHAR);

CREATE TABLE inputs (
    key VARCHAR PRIMARY KEY,
    pixels_key VARCHAR,
    images_key VARCHAR,              -- the same images, whoever made their pixels
    kind VARCHAR,
    layout VARCHAR,
    images INTEGER,
    excluded INTEGER,
    path VARCHAR NOT NULL
);

CREATE TABLE excluded (inputs_key VARCHAR NOT NULL, name VARCHAR, reason VARCHAR);

CREATE TABLE classes (inputs_key VARCHAR NOT NULL, class INTEGER, wnid VARCHAR, name VARCHAR);

CREATE TABLE sweeps (
    id VARCHAR PRIMARY KEY,
    created VARCHAR,
    baseline VARCHAR,
    cells INTEGER,
    done INTEGER,
    resumed INTEGER,
    failed INTEGER,
    path VARCHAR NOT NULL
);

CREATE TABLE sweep_cells (sweep VARCHAR NOT NULL, key VARCHAR NOT NULL, place INTEGER, status VARCHAR);

CREATE TABLE sessions (
    id VARCHAR PRIMARY KEY,
    created VARCHAR,
    reference VARCHAR,
    control VARCHAR,
    scenario VARCHAR,                -- single_stream or offline
    rounds INTEGER,
    fresh_processes BOOLEAN,         -- each round in processes of its own
    floor DOUBLE,                    -- relative differences below it are never claimed
    valid BOOLEAN,                   -- all members; NULL: recorded before times were judged
    path VARCHAR NOT NULL
);

CREATE TABLE session_members (
    session VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    place INTEGER,
    batch INTEGER,                   -- images a call
    valid BOOLEAN,                   -- the session's own reasons included
    ratios_valid BOOLEAN,            -- the same of its ratios to others: a shared drift is forgiven
    peak_rss_mib DOUBLE,
    joules_per_query DOUBLE,         -- of an image, the idle baseline taken off
    power_w DOUBLE                   -- drawn on average, the idle baseline in it
);

-- Why times are INVALID; the key is NULL where the whole session is.
CREATE TABLE time_reasons (session VARCHAR NOT NULL, key VARCHAR, kind VARCHAR, message VARCHAR);

-- Medians of a query's parts, measured apart from its rounds.
CREATE TABLE stages (session VARCHAR NOT NULL, key VARCHAR NOT NULL, stage VARCHAR, median_ns DOUBLE);

CREATE TABLE failures (
    key VARCHAR,
    model VARCHAR,
    environment VARCHAR,
    backend VARCHAR,
    level VARCHAR,
    settings VARCHAR,
    precision VARCHAR,
    instruction_set VARCHAR,
    device VARCHAR,
    threads INTEGER,
    batch INTEGER,
    executor VARCHAR,
    route VARCHAR,
    opset VARCHAR,
    quantisation VARCHAR,
    folding VARCHAR,
    layout VARCHAR,
    optimise VARCHAR,
    kind VARCHAR,
    message VARCHAR,
    exit_status INTEGER,
    signal INTEGER,
    started VARCHAR,
    ended VARCHAR,
    path VARCHAR NOT NULL
);

CREATE TABLE files (path VARCHAR PRIMARY KEY, key VARCHAR NOT NULL);  -- Parquet file -> its bundle

-- Two-sided 95 % quantiles of Student's t, because SQL has none.
CREATE TABLE t_quantiles (degrees INTEGER PRIMARY KEY, value DOUBLE NOT NULL);
