//! What does the audit log contain about keys? The text of a key is stored nowhere.

use serde_json::json;

use super::{HOUR, of};
use crate::acme::Acme;
use crate::vocabulary::{prefix, text};

#[test]
fn each_kind_of_key_stands_in_the_log_by_baseten_s_name() {
    let acme = Acme::new();
    acme.model("research", "llama");
    let kinds = [
        (json!({ "type": "PERSONAL" }), "PERSONAL", None),
        (json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }), "MANAGE_API_KEYS_SERVICE_ACCOUNT", None),
        (json!({ "type": "WORKSPACE_MANAGE_ALL" }), "CREATOR_SERVICE_ACCOUNT", Some("research")),
        (json!({ "type": "WORKSPACE_INVOKE" }), "INVOKE_ALL_MODELS_SERVICE_ACCOUNT", Some("research")),
        (
            json!({ "type": "WORKSPACE_INVOKE", "model_ids": ["llama"] }),
            "INVOKE_ALLOWED_MODELS_SERVICE_ACCOUNT",
            Some("research"),
        ),
        (
            json!({ "type": "WORKSPACE_INVOKE", "environments": ["staging"] }),
            "INVOKE_SCOPED_ENVS_AND_MODELS_SERVICE_ACCOUNT",
            Some("research"),
        ),
        (json!({ "type": "WORKSPACE_EXPORT_METRICS" }), "EXPORT_METRICS_ALL_MODELS_SERVICE_ACCOUNT", Some("research")),
        (
            json!({ "type": "WORKSPACE_EXPORT_METRICS", "model_ids": ["llama"] }),
            "EXPORT_METRICS_ALLOWED_MODELS_SERVICE_ACCOUNT",
            Some("research"),
        ),
    ];
    for (at, (mut body, kind, team)) in kinds.into_iter().enumerate() {
        body["team_id"] = json!(team);
        let key = acme.make_key("ada", body);
        let data = json!({ "api_key_id": prefix(&key), "api_key_type": kind, "prefix": prefix(&key) });
        let entry =
            |event_type: &str| json!({ "event_type": event_type, "team_id": team, "actor": "ada", "data": data });
        assert_eq!(acme.last_of(2 * at + 1), entry("API_KEY_CREATED"));
        acme.delete("ada", &of(&key));
        assert_eq!(acme.last_of(2 * at + 2), entry("API_KEY_DELETED"));
    }
}

#[test]
fn a_rotation_is_one_entry() {
    let acme = Acme::new();
    let manager = acme.make_key("ada", json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }));
    let old = acme.team_key("research", "WORKSPACE_INVOKE");
    let rotated = acme.rotate(&manager, &old, HOUR);
    assert_eq!(
        acme.last_of(3),
        json!({
            "event_type": "API_KEY_ROTATED", "team_id": "research", "actor": prefix(&manager),
            "data": {
                "api_key_id": rotated["prefix"], "api_key_type": "INVOKE_ALL_MODELS_SERVICE_ACCOUNT",
                "prefix": rotated["prefix"], "replaces": prefix(&old), "old_expires_at": rotated["old_expires_at"],
            },
        })
    );
}

#[test]
fn a_teams_living_keys_stand_in_the_log_when_it_is_deleted() {
    let acme = Acme::new();
    let living = acme.team_key("inference", "WORKSPACE_MANAGE_ALL");
    let revoked = acme.team_key("inference", "WORKSPACE_INVOKE");
    acme.delete("ada", &of(&revoked));
    let before = acme.audit().len();
    acme.delete("ada", "/v1/teams/inference");
    let deleted: Vec<_> =
        acme.audit().split_off(before).into_iter().filter(|entry| entry["event_type"] == "API_KEY_DELETED").collect();
    let data =
        json!({ "api_key_id": prefix(&living), "api_key_type": "CREATOR_SERVICE_ACCOUNT", "prefix": prefix(&living) });
    assert_eq!(
        deleted,
        [json!({ "event_type": "API_KEY_DELETED", "team_id": "inference", "actor": "ada", "data": data })]
    );
    assert!(!acme.works(&living));
}

#[test]
fn no_key_is_kept_anywhere() {
    let acme = Acme::new();
    let old = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    let new = text(&acme.rotate("tess", &old, HOUR)["api_key"]);
    acme.patch_access(&new);
    let sql = acme.server.sql();
    sql.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let path: String =
        sql.query_row("SELECT file FROM pragma_database_list WHERE name = 'main'", [], |row| row.get(0)).unwrap();
    let file = std::fs::read(path).unwrap();
    for key in [&old, &new] {
        let (prefix, secret) = key.split_once('.').unwrap();
        let holds = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds(prefix) && !holds(secret));
    }
}

impl Acme {
    /// A whole key where a prefix belongs is refused and not repeated.
    fn patch_access(&self, key: &str) {
        let access = json!({ "is_restricted": true, "api_key_prefixes": [key] });
        let body = json!({ "name": "staging", "manage_access": access });
        let sentence = self.refused(400, "tess", "POST", "/v1/teams/research/environment_groups", body);
        assert!(sentence.contains(prefix(key)) && !sentence.contains(key), "{sentence}");
    }
}
