-- Which field of a dataset is what, where the user corrected the guess.
CREATE TABLE mappings (
    path       TEXT PRIMARY KEY,
    mapping    TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
