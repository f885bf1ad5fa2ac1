-- Metrics become named series: one JSON object a step, so that a new one needs no migration.
-- `number` grows with every write, also when a resumed job writes a step again, so that a
-- reader with a cursor sees the step once more.

ALTER TABLE metrics RENAME TO metrics_by_column;

CREATE TABLE metrics (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    step   INTEGER NOT NULL,
    at     TEXT NOT NULL,
    series TEXT NOT NULL,
    UNIQUE (job_id, step)
);

-- json_patch leaves out what is null.
INSERT INTO metrics (number, job_id, step, at, series)
SELECT number, job_id, step, at, json_patch('{}', json_object(
    'epoch', epoch,
    'loss', loss,
    'valid_loss', valid_loss,
    'learning_rate', learning_rate,
    'tokens_per_second', tokens_per_second,
    'tokens', tokens,
    'memory_bytes', memory_bytes,
    'eta_seconds', eta_seconds
))
FROM metrics_by_column
ORDER BY number;

DROP TABLE metrics_by_column;
