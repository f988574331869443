"""The tables of the state file, as the history of their changes."""

MIGRATIONS = (
    """
    CREATE TABLE ven_state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        ven_id TEXT, registration_id TEXT, vtn_id TEXT, poll_period_s REAL,
        metadata TEXT NOT NULL, synced INTEGER NOT NULL, barred_until TEXT
    );
    CREATE TABLE ven_event (
        event_id TEXT PRIMARY KEY, position INTEGER NOT NULL, body BLOB NOT NULL, request_id TEXT NOT NULL,
        received_at TEXT NOT NULL, opt_type TEXT NOT NULL, code TEXT NOT NULL, description TEXT NOT NULL,
        offset_s INTEGER NOT NULL, stop_at TEXT, vanished INTEGER NOT NULL
    );
    CREATE TABLE ven_request (
        report_request_id TEXT PRIMARY KEY, position INTEGER NOT NULL, body BLOB NOT NULL,
        accepted_at TEXT NOT NULL, next_start TEXT NOT NULL, final INTEGER NOT NULL
    );
    CREATE TABLE ven_answer (position INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE ven_queue (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, report_request_id TEXT NOT NULL, body BLOB NOT NULL,
        refused TEXT
    );
    CREATE INDEX ven_queue_waiting ON ven_queue (seq) WHERE refused IS NULL;
    """,
    "CREATE TABLE ven_opt (position INTEGER PRIMARY KEY, body BLOB NOT NULL);",
    """
    CREATE TABLE ven_nonce (
        signer TEXT NOT NULL, nonce TEXT NOT NULL, signed_at TEXT NOT NULL, PRIMARY KEY (signer, nonce)
    ) WITHOUT ROWID;
    """,
    "ALTER TABLE ven_state ADD COLUMN xml_signature INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE ven_state ADD COLUMN renewing INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE ven_state ADD COLUMN pruned_at TEXT;",
    """
    ALTER TABLE ven_state ADD COLUMN leaving INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE ven_spent (id INTEGER PRIMARY KEY CHECK (id = 1), until TEXT NOT NULL);
    ALTER TABLE ven_nonce RENAME TO ven_nonce_before;
    -- in the order in which they come and go, so that few pages change
    CREATE TABLE ven_nonce (
        signed_at TEXT NOT NULL, signer TEXT NOT NULL, nonce TEXT NOT NULL,
        PRIMARY KEY (signed_at, signer, nonce)
    ) WITHOUT ROWID;
    INSERT INTO ven_nonce SELECT signed_at, signer, nonce FROM ven_nonce_before;
    DROP TABLE ven_nonce_before;
    CREATE TABLE ven_copy (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL);
    """,
    """
    ALTER TABLE ven_queue ADD COLUMN created_at TEXT NOT NULL DEFAULT '';
    -- read as a whole; new rows stand at the end, so that few pages change
    CREATE TABLE ven_deed (
        seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, at INTEGER NOT NULL, subject TEXT NOT NULL,
        sha256 BLOB NOT NULL
    );
    """,
    """
    ALTER TABLE ven_deed ADD COLUMN ven_id TEXT;  -- under which id it was done
    UPDATE ven_deed SET ven_id = (SELECT ven_id FROM ven_state);
    """,
)
"""The schema's history; `PRAGMA user_version` counts what has been applied."""
