-- Version 2: sessions, turns, transcripts with search, latency, recordings, nodes, settings.
ALTER TABLE events RENAME TO events_v1;

-- last_ms is the wall time of the newest event; scope is the longest one of its turns.
CREATE TABLE sessions (
    id         INTEGER PRIMARY KEY,
    session    TEXT NOT NULL UNIQUE,
    scope      TEXT NOT NULL CHECK (scope IN ('session', 'persistent')),
    started_ms INTEGER NOT NULL,
    last_ms    INTEGER NOT NULL,
    ended_ms   INTEGER,
    turns      INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX sessions_by_last ON sessions (last_ms, id);

-- tool and failure are JSON. ended_ms is absent while the turn runs.
CREATE TABLE turns (
    id         INTEGER PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    turn       TEXT NOT NULL UNIQUE,
    scope      TEXT NOT NULL CHECK (scope IN ('session', 'persistent')),
    started_ms INTEGER NOT NULL,
    last_ms    INTEGER NOT NULL,
    ended_ms   INTEGER,
    source     TEXT,
    ending     TEXT,
    class      TEXT,
    confidence REAL,
    capability TEXT,
    tool       TEXT,
    failure    TEXT
) STRICT;
CREATE INDEX turns_by_session ON turns (session_id, id);
CREATE INDEX turns_of_session_scope ON turns (session_id) WHERE scope = 'session';
CREATE TRIGGER turn_added AFTER INSERT ON turns BEGIN
    UPDATE sessions SET turns = turns + 1 WHERE id = new.session_id;
END;
CREATE TRIGGER turn_removed AFTER DELETE ON turns BEGIN
    UPDATE sessions SET turns = turns - 1 WHERE id = old.session_id;
END;

CREATE TABLE events (
    turn_id INTEGER NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    at_us   INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    name    TEXT NOT NULL,
    event   TEXT NOT NULL,
    PRIMARY KEY (turn_id, seq)
) WITHOUT ROWID, STRICT;

CREATE TABLE transcripts (
    turn_id INTEGER PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE,
    said    TEXT NOT NULL,
    reply   TEXT NOT NULL
) STRICT;
CREATE VIRTUAL TABLE transcripts_fts USING fts5 (
    said, reply, content = 'transcripts', content_rowid = 'turn_id', tokenize = 'unicode61 remove_diacritics 2'
);
-- A word that is deleted leaves nothing in the index.
INSERT INTO transcripts_fts (transcripts_fts, rank) VALUES ('secure-delete', 1);
CREATE TRIGGER transcript_added AFTER INSERT ON transcripts BEGIN
    INSERT INTO transcripts_fts (rowid, said, reply) VALUES (new.turn_id, new.said, new.reply);
END;
CREATE TRIGGER transcript_removed AFTER DELETE ON transcripts BEGIN
    INSERT INTO transcripts_fts (transcripts_fts, rowid, said, reply)
    VALUES ('delete', old.turn_id, old.said, old.reply);
END;
CREATE TRIGGER transcript_changed AFTER UPDATE ON transcripts BEGIN
    INSERT INTO transcripts_fts (transcripts_fts, rowid, said, reply)
    VALUES ('delete', old.turn_id, old.said, old.reply);
    INSERT INTO transcripts_fts (rowid, said, reply) VALUES (new.turn_id, new.said, new.reply);
END;

-- The parts of LatencySplit, in milliseconds.
CREATE TABLE latency (
    turn_id         INTEGER PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE,
    at_ms           INTEGER NOT NULL,
    class           TEXT NOT NULL,
    total           REAL NOT NULL,
    endpoint        REAL NOT NULL,
    stt_tail        REAL NOT NULL,
    plan            REAL NOT NULL,
    skill           REAL NOT NULL,
    llm_first_token REAL NOT NULL,
    first_clause    REAL NOT NULL,
    tts_first_chunk REAL NOT NULL,
    bus             REAL NOT NULL,
    output          REAL NOT NULL
) STRICT;
CREATE INDEX latency_by_time ON latency (at_ms, turn_id);

-- 16 kHz mono PCM, encrypted; the key is made of the key file and the salt.
CREATE TABLE recordings (
    turn_id    INTEGER PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE,
    session_id INTEGER NOT NULL,
    samples    INTEGER NOT NULL,
    salt       BLOB NOT NULL,
    ciphertext BLOB NOT NULL
) STRICT;
CREATE INDEX recordings_by_session ON recordings (session_id);

CREATE TABLE nodes (
    instance     TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,
    node         TEXT NOT NULL,
    program      TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    first_ms     INTEGER NOT NULL,
    last_ms      INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE settings (
    key        TEXT PRIMARY KEY,
    value      TEXT NOT NULL,
    changed_ms INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

INSERT INTO sessions (session, scope, started_ms, last_ms)
SELECT session, 'persistent', min(wall_ms), max(wall_ms)
FROM events_v1 GROUP BY session ORDER BY min(wall_ms), session;

-- A turn's id is random and belongs to one session; of two with the same id the first is kept.
INSERT OR IGNORE INTO turns (session_id, turn, scope, started_ms, last_ms, ended_ms, source, ending, class, confidence,
                             capability, tool, failure)
SELECT s.id, e.turn, 'persistent', min(e.wall_ms), max(e.wall_ms),
       max(CASE e.name WHEN 'turn_ended' THEN e.wall_ms END),
       max(CASE e.name WHEN 'turn_started' THEN e.event ->> '$.source' END),
       max(CASE e.name WHEN 'turn_ended' THEN e.event ->> '$.end' END),
       max(CASE e.name WHEN 'turn_ended' THEN e.event ->> '$.class' END),
       max(CASE e.name WHEN 'transcript_final' THEN CAST(e.event ->> '$.confidence' AS REAL) END),
       (SELECT r.event ->> '$.capability' FROM events_v1 r
        WHERE r.session = e.session AND r.turn = e.turn AND r.name = 'reply_started' ORDER BY r.seq DESC LIMIT 1),
       (SELECT r.event -> '$.call' FROM events_v1 r
        WHERE r.session = e.session AND r.turn = e.turn AND r.name = 'tool_called' ORDER BY r.seq DESC LIMIT 1),
       max(CASE e.name WHEN 'turn_failed' THEN e.event -> '$.failure' END)
FROM events_v1 e JOIN sessions s ON s.session = e.session
GROUP BY e.session, e.turn ORDER BY min(e.wall_ms), e.turn;

INSERT INTO events (turn_id, seq, at_us, wall_ms, name, event)
SELECT t.id, e.seq, e.at_us, e.wall_ms, e.name, e.event
FROM events_v1 e JOIN sessions s ON s.session = e.session
     JOIN turns t ON t.turn = e.turn AND t.session_id = s.id
ORDER BY t.id, e.seq;

INSERT INTO transcripts (turn_id, said, reply)
SELECT t.id,
       coalesce((SELECT e.event ->> '$.text' FROM events e
                 WHERE e.turn_id = t.id AND e.name = 'transcript_final' ORDER BY e.seq DESC LIMIT 1), ''),
       coalesce((SELECT group_concat(trim(e.event ->> '$.text'), ' ' ORDER BY e.seq) FROM events e
                 WHERE e.turn_id = t.id AND e.name = 'speaking_started'), '')
FROM turns t;

INSERT INTO latency
SELECT e.turn_id, e.wall_ms, e.event ->> '$.class',
       e.event ->> '$.latency_ms.total', e.event ->> '$.latency_ms.endpoint', e.event ->> '$.latency_ms.stt_tail',
       e.event ->> '$.latency_ms.plan', e.event ->> '$.latency_ms.skill', e.event ->> '$.latency_ms.llm_first_token',
       e.event ->> '$.latency_ms.first_clause', e.event ->> '$.latency_ms.tts_first_chunk',
       e.event ->> '$.latency_ms.bus', e.event ->> '$.latency_ms.output'
FROM events e WHERE e.name = 'turn_ended' AND e.event ->> '$.latency_ms.total' IS NOT NULL;

DROP TABLE events_v1;
