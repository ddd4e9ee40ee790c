-- The store on a server, for any number of processes. What belongs to an organization has keys that begin with its number,
-- so that these tables can be distributed by it; ids are ordered by time and tell when a thing was created.

-- A writer's transaction holds one slot: it gives ids of its own, and counts in rows of its own, so that writers of several
-- processes never wait for each other's counters. Its commits are numbered: each is larger than all that it could see.
CREATE TABLE slots (slot SMALLINT PRIMARY KEY, last_id BIGINT NOT NULL, commits BIGINT NOT NULL) WITH (fillfactor = 20);
INSERT INTO slots (slot, last_id, commits) SELECT n, 0, 0 FROM generate_series(0, 63) n;
-- The latest commits of each slot: whether one whose answer was lost is among them.
CREATE TABLE commits (slot SMALLINT NOT NULL, number BIGINT NOT NULL, batch BIGINT NOT NULL, PRIMARY KEY (slot, number));

CREATE TABLE organizations (num BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT NOT NULL UNIQUE);

CREATE TABLE destinations (
    id BIGINT PRIMARY KEY,
    org BIGINT NOT NULL,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,                 -- JSON
    credentials BYTEA,                  -- sealed
    breaker TEXT NOT NULL,              -- JSON
    paused_until_ms BIGINT,
    hold TEXT,                          -- JSON
    held_actions TEXT,                  -- JSON, by the platform's action id
    removed BOOLEAN NOT NULL DEFAULT FALSE
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX destinations_name ON destinations (org, name) WHERE NOT removed;

CREATE TABLE conversions (
    org BIGINT NOT NULL,
    id BIGINT NOT NULL,
    natural_key BYTEA NOT NULL,         -- 16 bytes
    action TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,        -- Unix seconds
    mantissa BIGINT, scale SMALLINT, currency TEXT, -- the value it was captured with
    order_id TEXT,
    click_kind SMALLINT, click TEXT,
    consent SMALLINT NOT NULL,
    identifiers BYTEA,                  -- sealed
    persons BYTEA,                      -- 16 bytes each
    revision INTEGER NOT NULL,
    updated_ms BIGINT,                  -- NULL: not since its capture
    PRIMARY KEY (org, id)
);
-- Of two indexes that begin with the organization, the planner may take the wrong one for a tenant of whom it knows nothing yet,
-- and read all its rows for one. So one alone begins with it.
CREATE UNIQUE INDEX conversions_key ON conversions (natural_key, org);
CREATE INDEX conversions_order ON conversions (order_id, org) WHERE order_id IS NOT NULL;

-- Later values of a conversion, in the order in which they were recorded.
CREATE TABLE revisions (
    org BIGINT NOT NULL, conversion BIGINT NOT NULL, number INTEGER NOT NULL,
    at BIGINT NOT NULL, mantissa BIGINT, scale SMALLINT, currency TEXT,
    PRIMARY KEY (org, conversion, number)
);

-- The row is the job. `due_ms` is set exactly while a worker may claim it. No index has a column that changes, and a page has room
-- for a second version of each of its rows: a change then stays on its page and writes to no index.
CREATE TABLE deliveries (
    org BIGINT NOT NULL,
    id BIGINT NOT NULL,
    conversion BIGINT NOT NULL,
    destination BIGINT NOT NULL,
    state SMALLINT NOT NULL,
    due_ms BIGINT,
    action_id TEXT NOT NULL,
    transaction_id TEXT,                -- NULL: the order id, else the natural key in hexadecimal
    revision INTEGER NOT NULL,
    mantissa BIGINT, scale SMALLINT, currency TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    round SMALLINT NOT NULL DEFAULT 0,
    part BIGINT NOT NULL DEFAULT 0,
    stop BOOLEAN NOT NULL DEFAULT FALSE,
    review BOOLEAN NOT NULL DEFAULT FALSE, -- held by itself, for a human's review
    lease BIGINT, worker BIGINT, lease_until_ms BIGINT, -- the claim under which it is in flight
    upload BIGINT,
    first_sent_ms BIGINT,
    event_hash BIGINT,
    why_code TEXT, why_detail TEXT,
    after BIGINT,                       -- an older revision's delivery that must be final first
    changed_ms BIGINT,                  -- NULL: not since its creation
    PRIMARY KEY (org, id)
) WITH (fillfactor = 50);
CREATE INDEX deliveries_conversion ON deliveries (conversion);

-- What of a destination may be claimed (0), is held (1) or dead (2), with its due time or 0. Finished rows are not here, so that no
-- claim passes them; dead entries at the head are swept away early, so that claims do not pass these either.
CREATE TABLE queue (
    destination BIGINT NOT NULL, kind SMALLINT NOT NULL, due_ms BIGINT NOT NULL, id BIGINT NOT NULL,
    PRIMARY KEY (destination, kind, due_ms, id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
-- Claims whose rows are not all settled yet.
CREATE TABLE leases (
    token BIGINT PRIMARY KEY, worker BIGINT NOT NULL, until_ms BIGINT NOT NULL, org BIGINT NOT NULL,
    rows BIGINT[] NOT NULL,             -- delivery ids; some may be settled
    open BIGINT NOT NULL                -- how many are not
);

-- Who has a transaction id of the user's own at an account and action, whatever the organization: the platform knows only one.
CREATE TABLE owners (owned BYTEA PRIMARY KEY, conversion BIGINT NOT NULL);

-- Conversions by the keyed hashes of their people.
CREATE TABLE persons (org BIGINT NOT NULL, person BYTEA NOT NULL, conversion BIGINT NOT NULL, PRIMARY KEY (org, person, conversion));

-- Failures of a delivery, oldest first.
CREATE TABLE failures (
    org BIGINT NOT NULL, delivery BIGINT NOT NULL, number INTEGER NOT NULL, at_ms BIGINT NOT NULL,
    why_code TEXT NOT NULL, why_detail TEXT NOT NULL,
    PRIMARY KEY (org, delivery, number)
);

-- Requests, recorded before they are sent.
CREATE TABLE uploads (
    org BIGINT NOT NULL,
    id BIGINT NOT NULL,
    destination BIGINT NOT NULL,
    action_id TEXT NOT NULL,
    body_hash BYTEA NOT NULL,
    rows BIGINT[] NOT NULL,             -- delivery ids in the order of the request
    sent_ms BIGINT NOT NULL,
    answered BOOLEAN NOT NULL DEFAULT FALSE,
    round SMALLINT NOT NULL,
    polls INTEGER NOT NULL DEFAULT 0,
    request_id TEXT,
    poll_at_ms BIGINT,
    asker BIGINT,                       -- the worker that asks for the verdict, until it has an answer
    why_code TEXT, why_detail TEXT,
    PRIMARY KEY (org, id)
);
CREATE INDEX uploads_poll ON uploads (destination, poll_at_ms, id) WHERE poll_at_ms IS NOT NULL;
CREATE INDEX uploads_asked ON uploads (asker) WHERE asker IS NOT NULL;

-- What came in; the deliveries say what became of it.
CREATE TABLE intakes (
    org BIGINT NOT NULL,
    id BIGINT NOT NULL,
    source TEXT NOT NULL, consent_proof TEXT,
    rows BIGINT NOT NULL, refused BIGINT NOT NULL, denied BIGINT NOT NULL,
    duplicates BIGINT NOT NULL, conversions BIGINT NOT NULL, deliveries BIGINT NOT NULL,
    PRIMARY KEY (org, id)
);

CREATE TABLE suppressed (org BIGINT NOT NULL, person BYTEA NOT NULL, at_ms BIGINT NOT NULL, PRIMARY KEY (org, person));

CREATE TABLE quotas (name TEXT PRIMARY KEY, tats_us TEXT NOT NULL) WITH (fillfactor = 50);

-- Deliveries by state, and the value of open and dead ones, each the sum over slots; changed in the transaction that changes the rows.
CREATE TABLE tallies (
    destination BIGINT NOT NULL, state SMALLINT NOT NULL, slot SMALLINT NOT NULL, count BIGINT NOT NULL, PRIMARY KEY (destination, state, slot)
) WITH (fillfactor = 50);
CREATE TABLE risks (
    destination BIGINT NOT NULL, currency TEXT NOT NULL, slot SMALLINT NOT NULL, micros NUMERIC NOT NULL, PRIMARY KEY (destination, currency, slot)
) WITH (fillfactor = 50);

-- Numbered by commit and slot: pages in this order miss nothing that another writer commits later.
CREATE TABLE audit_links (
    seq BIGINT PRIMARY KEY, writer BIGINT NOT NULL, position BIGINT NOT NULL, at_ms BIGINT NOT NULL,
    entries TEXT NOT NULL, digest BYTEA NOT NULL, previous BYTEA NOT NULL, mac BYTEA NOT NULL, UNIQUE (writer, position)
);

-- People's enquiries, by the organization in the order of their changes.
CREATE TABLE leads (
    org BIGINT NOT NULL,
    id BIGINT NOT NULL,
    changed BIGINT NOT NULL,            -- the number of its latest change: ids and changes are one sequence
    status SMALLINT NOT NULL,
    score SMALLINT NOT NULL,
    external BYTEA,                     -- keyed hash of site and the site's own id, 16 bytes
    persons BYTEA,                      -- 16 bytes each
    consent TEXT NOT NULL,              -- JSON, the latest
    content BYTEA NOT NULL,             -- sealed
    PRIMARY KEY (id, org)
);
CREATE UNIQUE INDEX leads_changed ON leads (org, changed);
CREATE UNIQUE INDEX leads_external ON leads (external, org) WHERE external IS NOT NULL;
-- Leads by the keyed hashes of their people.
CREATE TABLE lead_persons (org BIGINT NOT NULL, person BYTEA NOT NULL, lead BIGINT NOT NULL, PRIMARY KEY (org, person, lead));
-- How many were stored, updated and denied, each the sum over slots; of the denied nothing else is kept.
CREATE TABLE lead_counts (
    org BIGINT NOT NULL, slot SMALLINT NOT NULL, stored BIGINT NOT NULL, updated BIGINT NOT NULL, denied BIGINT NOT NULL, PRIMARY KEY (org, slot)
) WITH (fillfactor = 50);
-- Who agreed to what, once that changed, and what remains when a lead is deleted; append-only.
CREATE TABLE consents (org BIGINT NOT NULL, lead BIGINT NOT NULL, id BIGINT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (org, lead, id));
-- What repeated requests did the first time; no personal data.
CREATE TABLE idempotency (
    org BIGINT NOT NULL, key BYTEA NOT NULL, body BYTEA NOT NULL, at_ms BIGINT NOT NULL, done TEXT NOT NULL, PRIMARY KEY (org, key)
);
CREATE INDEX idempotency_at ON idempotency (at_ms);
-- What becomes a conversion of which action.
CREATE TABLE rules (org BIGINT NOT NULL, name TEXT NOT NULL, spec TEXT NOT NULL, PRIMARY KEY (org, name));
CREATE TABLE revoked_tokens (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org BIGINT NOT NULL, jti TEXT NOT NULL, until_ms BIGINT NOT NULL, UNIQUE (org, jti)
);
-- Replays of dead letters that go on by themselves.
CREATE TABLE replays (org BIGINT NOT NULL, id BIGINT NOT NULL, running BOOLEAN NOT NULL, record TEXT NOT NULL, PRIMARY KEY (org, id));
CREATE INDEX replays_running ON replays (id) WHERE running;

-- Shaped now, used by later features.

-- Received webhooks; the payload is destroyed when the event is settled, the sender's id stays.
CREATE TABLE inbox (
    org BIGINT NOT NULL, id BIGINT NOT NULL, source BIGINT NOT NULL, sender_id BYTEA NOT NULL, state SMALLINT NOT NULL,
    due_ms BIGINT, attempts INTEGER NOT NULL DEFAULT 0, lease BIGINT, payload BYTEA, why_code TEXT, why_detail TEXT,
    PRIMARY KEY (org, id), UNIQUE (org, source, sender_id)
);
CREATE INDEX inbox_due ON inbox (due_ms) WHERE due_ms IS NOT NULL;
-- Shops, locations and accounts that send events.
CREATE TABLE sources (
    id BIGINT PRIMARY KEY, org BIGINT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, spec TEXT NOT NULL,
    secrets BYTEA, UNIQUE (org, name)   -- sealed
);
