-- Calls that are queued and answered later.
--
-- The body waits here until the model has it, the answer until its webhook has it. A request that was in progress when the
-- server stopped has failed: it is not sent to the model again.

CREATE TABLE async_request (
    id               TEXT PRIMARY KEY,
    org_id           TEXT NOT NULL,
    team_id          TEXT NOT NULL,
    model_id         TEXT NOT NULL,         -- of a Chain: its entrypoint's model
    deployment_id    TEXT NOT NULL,         -- of a Chain: its entrypoint's deployment
    chain_id         TEXT,
    chain_deployment_id TEXT,
    environment      TEXT,                  -- the environment that was called by name
    api_key_prefix   TEXT NOT NULL,         -- checked again when the request is started
    priority         INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 2),     -- 0 is first
    status           TEXT NOT NULL CHECK (status IN (
                         'QUEUED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'EXPIRED', 'CANCELED', 'WEBHOOK_FAILED')),
    webhook_status   TEXT NOT NULL CHECK (webhook_status IN (
                         'PENDING', 'SUCCEEDED', 'FAILED', 'CANCELED', 'NO_WEBHOOK_PROVIDED')),
    error_code       TEXT,
    error_message    TEXT,
    created_at       INTEGER NOT NULL,
    status_at        INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,      -- if it is still queued
    retries          TEXT CHECK (retries IS NULL OR json_valid(retries)),   -- null: one attempt
    webhook_url      TEXT,
    webhook_attempts INTEGER NOT NULL DEFAULT 0 CHECK (webhook_attempts >= 0),  -- recorded before each
    webhook_at       INTEGER,               -- when the webhook is to be called next
    input            BLOB,                  -- null once it is not needed any more
    output           BLOB,                  -- what the webhook is to get
    CHECK ((chain_id IS NULL) = (chain_deployment_id IS NULL)),
    CHECK ((error_code IS NULL) = (error_message IS NULL)),
    CHECK ((webhook_url IS NULL) = (webhook_status = 'NO_WEBHOOK_PROVIDED')),
    CHECK (status <> 'QUEUED' OR input IS NOT NULL),
    FOREIGN KEY (org_id, team_id, model_id) REFERENCES model (org_id, team_id, id) ON DELETE CASCADE,
    FOREIGN KEY (model_id, deployment_id) REFERENCES deployment (model_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, team_id, chain_deployment_id)
        REFERENCES chain_deployment (org_id, team_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX async_request_of_model ON async_request (org_id, team_id, model_id);
CREATE INDEX async_request_of_deployment ON async_request (model_id, deployment_id);
CREATE INDEX async_request_of_chain_deployment ON async_request (org_id, team_id, chain_deployment_id)
WHERE chain_deployment_id IS NOT NULL;

-- What is to be done: the next request of each deployment, what runs, what has waited too long, webhooks.
CREATE INDEX async_request_queued ON async_request (deployment_id, priority, created_at, id) WHERE status = 'QUEUED';
CREATE INDEX async_request_in_progress ON async_request (deployment_id) WHERE status = 'IN_PROGRESS';
CREATE INDEX async_request_unfinished ON async_request (team_id) WHERE status IN ('QUEUED', 'IN_PROGRESS');
CREATE INDEX async_request_expiring ON async_request (expires_at) WHERE status = 'QUEUED';
CREATE INDEX async_request_webhook ON async_request (webhook_at) WHERE webhook_at IS NOT NULL;
CREATE INDEX async_request_webhook_of_team ON async_request (team_id) WHERE webhook_at IS NOT NULL;
CREATE INDEX async_request_ended ON async_request (status_at)
WHERE status NOT IN ('QUEUED', 'IN_PROGRESS') AND webhook_at IS NULL;
