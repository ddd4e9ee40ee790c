-- The embedded store. The writer is the ceiling, so rows are narrow and indexes few:
-- ids are integers ordered by time (the creation time is in the id), main tables only grow at the end,
-- and what is looked up by a hash is found through sorted runs of hashes (`key_log`, `key_runs`, `key_pages`).

-- The last id given out.
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE organizations (num INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

-- Also the queue's row: pauses, breaker, holds, virtual time for fairness.
CREATE TABLE destinations (
    id INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,                 -- JSON
    credentials BLOB,                   -- sealed
    breaker TEXT NOT NULL,              -- JSON
    paused_until_ms INTEGER,
    hold TEXT,                          -- JSON
    held_actions TEXT,                  -- JSON, by the platform's action id
    virtual_time INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX destinations_name ON destinations (org, name) WHERE removed = 0;

-- Conversions of one organization are found through its intakes: each covers a range of ids.
CREATE TABLE conversions (
    id INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    natural_key BLOB NOT NULL,          -- 16 bytes
    action TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,       -- Unix seconds
    mantissa INTEGER, scale INTEGER, currency TEXT, -- the value it was captured with
    order_id TEXT,
    click_kind INTEGER, click TEXT,
    consent INTEGER NOT NULL,
    identifiers BLOB,                   -- sealed
    persons BLOB,                       -- 16 bytes each
    deliveries INTEGER NOT NULL,        -- how many rows directly follow in `deliveries` by id
    revision INTEGER NOT NULL,
    updated_ms INTEGER                  -- NULL: not since its capture
);

-- Later values of a conversion, in the order in which they were recorded.
CREATE TABLE revisions (
    conversion INTEGER NOT NULL, number INTEGER NOT NULL,
    at INTEGER NOT NULL, mantissa INTEGER, scale INTEGER, currency TEXT,
    PRIMARY KEY (conversion, number)
) WITHOUT ROWID;

-- The row is the job. `due_ms` is set exactly while a worker may claim it.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    conversion INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    state INTEGER NOT NULL,
    due_ms INTEGER,
    action_id TEXT NOT NULL,
    transaction_id TEXT,                -- NULL: the order id, else the natural key in hexadecimal
    owned BLOB,                         -- 16 bytes
    revision INTEGER NOT NULL,
    mantissa INTEGER, scale INTEGER, currency TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    round INTEGER NOT NULL DEFAULT 0,
    part INTEGER NOT NULL DEFAULT 0,
    stop INTEGER NOT NULL DEFAULT 0,
    review INTEGER NOT NULL DEFAULT 0,  -- held by itself, for a human's review
    lease INTEGER,                      -- the claim's token
    upload INTEGER,
    first_sent_ms INTEGER,
    event_hash INTEGER,
    why INTEGER,
    after INTEGER,                      -- an older revision's delivery that must be final first
    changed_ms INTEGER                  -- NULL: not since its creation
);
CREATE INDEX deliveries_due ON deliveries (destination, due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX deliveries_held ON deliveries (destination) WHERE state = 3;
CREATE INDEX deliveries_dead ON deliveries (destination) WHERE state = 7;

-- Deliveries that do not directly follow their conversion.
CREATE TABLE later_deliveries (
    conversion INTEGER NOT NULL, delivery INTEGER NOT NULL, PRIMARY KEY (conversion, delivery)
) WITHOUT ROWID;

-- Hashes and the rows that may have them: 64 bits of the hash and the row's id, 8 bytes each, big-endian; the row itself
-- says whether it has the hash. Natural keys, order ids and persons lead to conversions, owned transaction ids to deliveries.
-- A tree would change a page per hash; these are written in order: each command appends its own to the log, the log becomes
-- a sorted run when it is long, and runs of one tier become one run of the next.
CREATE TABLE key_log (id INTEGER PRIMARY KEY, keys BLOB NOT NULL);
CREATE TABLE key_runs (
    id INTEGER PRIMARY KEY,             -- a later run has a larger one
    tier INTEGER NOT NULL,
    bits INTEGER NOT NULL,              -- its page is told by so many leading bits of the hash
    keys INTEGER NOT NULL,
    filtered INTEGER NOT NULL           -- of them, those that every row looks up
);
CREATE TABLE key_pages (id INTEGER PRIMARY KEY, keys BLOB NOT NULL); -- id: run << 24 | leading bits of the hash

-- Claims with rows still in flight.
CREATE TABLE leases (
    token INTEGER PRIMARY KEY, worker INTEGER NOT NULL, until_ms INTEGER NOT NULL,
    open INTEGER NOT NULL,              -- rows still in flight under it
    rows BLOB NOT NULL                  -- delivery ids, 8 bytes each
);

CREATE TABLE whys (num INTEGER PRIMARY KEY, code TEXT NOT NULL, detail TEXT NOT NULL, UNIQUE (code, detail));

-- Failures of a delivery, oldest first.
CREATE TABLE failures (
    delivery INTEGER NOT NULL, number INTEGER NOT NULL, at_ms INTEGER NOT NULL, why INTEGER NOT NULL,
    PRIMARY KEY (delivery, number)
) WITHOUT ROWID;

-- Requests, recorded before they are sent.
CREATE TABLE uploads (
    id INTEGER PRIMARY KEY,
    destination INTEGER NOT NULL,
    action_id TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    rows BLOB NOT NULL,                 -- delivery ids in the order of the request, 8 bytes each
    sent_ms INTEGER NOT NULL,
    answered INTEGER NOT NULL DEFAULT 0,
    round INTEGER NOT NULL,
    polls INTEGER NOT NULL DEFAULT 0,
    request_id TEXT,
    poll_at_ms INTEGER,
    asker INTEGER,                      -- the worker that asks for the verdict, until it has an answer
    why INTEGER
);
CREATE INDEX uploads_poll ON uploads (destination, poll_at_ms) WHERE poll_at_ms IS NOT NULL;
CREATE INDEX uploads_asked ON uploads (asker) WHERE asker IS NOT NULL;

-- What came in; the deliveries say what became of it.
CREATE TABLE intakes (
    id INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    last_id INTEGER NOT NULL,           -- its conversions have ids between `id` and this one
    source TEXT NOT NULL, consent_proof TEXT,
    rows INTEGER NOT NULL, refused INTEGER NOT NULL, denied INTEGER NOT NULL,
    duplicates INTEGER NOT NULL, conversions INTEGER NOT NULL, deliveries INTEGER NOT NULL
);
CREATE INDEX intakes_org ON intakes (org);

CREATE TABLE suppressed (org INTEGER NOT NULL, person BLOB NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (org, person)) WITHOUT ROWID;

CREATE TABLE quotas (name TEXT PRIMARY KEY, tats_us TEXT NOT NULL) WITHOUT ROWID;

-- Deliveries by state, and the value of open and dead ones; changed in the transaction that changes the rows.
CREATE TABLE tallies (destination INTEGER NOT NULL, state INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (destination, state)) WITHOUT ROWID;
CREATE TABLE risks (destination INTEGER NOT NULL, currency TEXT NOT NULL, micros BLOB NOT NULL, PRIMARY KEY (destination, currency)) WITHOUT ROWID;

CREATE TABLE audit_links (
    seq INTEGER PRIMARY KEY, writer INTEGER NOT NULL, position INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    entries TEXT NOT NULL, digest BLOB NOT NULL, previous BLOB NOT NULL, mac BLOB NOT NULL, UNIQUE (writer, position)
);

-- People's enquiries. A lead is found by its site's own id through the key index, by the organization in the order of changes.
CREATE TABLE leads (
    id INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    changed INTEGER NOT NULL,           -- the number of its latest change: ids and changes are one sequence
    status INTEGER NOT NULL,
    score INTEGER NOT NULL,
    external BLOB,                      -- keyed hash of site and the site's own id, 16 bytes
    persons BLOB,                       -- 16 bytes each
    consent TEXT NOT NULL,              -- JSON, the latest
    content BLOB NOT NULL               -- sealed
);
CREATE INDEX leads_changed ON leads (org, changed);
-- How many were stored, updated and denied; of the denied nothing else is kept.
CREATE TABLE lead_counts (org INTEGER PRIMARY KEY, stored INTEGER NOT NULL, updated INTEGER NOT NULL, denied INTEGER NOT NULL);
-- Who agreed to what, once that changed, and what remains when a lead is deleted; append-only.
CREATE TABLE consents (id INTEGER PRIMARY KEY, org INTEGER NOT NULL, lead INTEGER NOT NULL, record TEXT NOT NULL);
CREATE INDEX consents_lead ON consents (lead);
-- What repeated requests did the first time; no personal data.
CREATE TABLE idempotency (
    org INTEGER NOT NULL, key BLOB NOT NULL, body BLOB NOT NULL, at_ms INTEGER NOT NULL, done TEXT NOT NULL,
    PRIMARY KEY (org, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at_ms);
-- What becomes a conversion of which action.
CREATE TABLE rules (org INTEGER NOT NULL, name TEXT NOT NULL, spec TEXT NOT NULL, PRIMARY KEY (org, name)) WITHOUT ROWID;
CREATE TABLE revoked_tokens (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, org INTEGER NOT NULL, jti TEXT NOT NULL, until_ms INTEGER NOT NULL, UNIQUE (org, jti)
);
-- Replays of dead letters that go on by themselves.
CREATE TABLE replays (id INTEGER PRIMARY KEY, org INTEGER NOT NULL, running INTEGER NOT NULL, record TEXT NOT NULL);
CREATE INDEX replays_running ON replays (id) WHERE running = 1;

-- Shaped now, used by later features.

-- Received webhooks; the payload is destroyed when the event is settled, the sender's id stays.
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY, org INTEGER NOT NULL, source INTEGER NOT NULL, sender_id BLOB NOT NULL, state INTEGER NOT NULL,
    due_ms INTEGER, attempts INTEGER NOT NULL DEFAULT 0, lease INTEGER, payload BLOB, why INTEGER, UNIQUE (source, sender_id)
);
CREATE INDEX inbox_due ON inbox (due_ms) WHERE due_ms IS NOT NULL;
-- Shops, locations and accounts that send events.
CREATE TABLE sources (
    id INTEGER PRIMARY KEY, org INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, spec TEXT NOT NULL,
    secrets BLOB, UNIQUE (org, name)    -- sealed
);
