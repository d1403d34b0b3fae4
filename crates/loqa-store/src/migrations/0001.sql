-- Version 1: the events of each turn.
CREATE TABLE events (
    session TEXT NOT NULL,
    turn    TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    at_us   INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    name    TEXT NOT NULL,
    event   TEXT NOT NULL,
    PRIMARY KEY (session, turn, seq)
) WITHOUT ROWID, STRICT;
