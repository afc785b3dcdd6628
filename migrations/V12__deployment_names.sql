-- A name is one deployment of a model, and of a Chain: clients look deployments up by name.
--
-- Of those that share one, the first keeps it, the others get the second in which they were made behind it. Where even that
-- is taken, they get their id, which nobody chooses.

-- The name of the development deployment is its alone.
UPDATE deployment SET name = name || '.' || (created_at / 1000) WHERE name = 'development' AND number > 0;
UPDATE chain_deployment SET name = name || '.' || (created_at / 1000) WHERE name = 'development' AND number > 0;

UPDATE deployment SET name = substr(name, 1, 240) || '.' || (created_at / 1000)
WHERE EXISTS (SELECT 1 FROM deployment AS other
              WHERE other.model_id = deployment.model_id AND other.name = deployment.name AND other.number < deployment.number);
UPDATE deployment SET name = substr(name, 1, 200) || '.' || id
WHERE EXISTS (SELECT 1 FROM deployment AS other
              WHERE other.model_id = deployment.model_id AND other.name = deployment.name AND other.number < deployment.number);

UPDATE chain_deployment SET name = substr(name, 1, 240) || '.' || (created_at / 1000)
WHERE EXISTS (SELECT 1 FROM chain_deployment AS other
              WHERE other.chain_id = chain_deployment.chain_id AND other.name = chain_deployment.name
                AND other.number < chain_deployment.number);
UPDATE chain_deployment SET name = substr(name, 1, 200) || '.' || id
WHERE EXISTS (SELECT 1 FROM chain_deployment AS other
              WHERE other.chain_id = chain_deployment.chain_id AND other.name = chain_deployment.name
                AND other.number < chain_deployment.number);

CREATE UNIQUE INDEX deployment_name ON deployment (model_id, name);
CREATE UNIQUE INDEX chain_deployment_name ON chain_deployment (chain_id, name);
