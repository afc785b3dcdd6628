//! An organization with one team that is written directly into a database, and the keys of its uploaders.

use std::path::Path;

use guildhall::token::PlainKey;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rusqlite::{Connection, params};

/// The keys of Ada, an organization admin; of Bob, a member of the team; of the team, for everything; of the team, for
/// calls alone.
pub fn organization(data: &Path) -> [PlainKey; 4] {
    let mut rng = StdRng::seed_from_u64(1);
    let [ada, bob, team, invoke] = std::array::from_fn(|_| PlainKey::generate(&mut rng));
    let sql = Connection::open(data.join("guildhall.db")).unwrap();
    sql.execute_batch(
        "INSERT INTO organization VALUES ('acme', 'Acme', 'acme', 1, 0);
         INSERT INTO team VALUES ('home', 'acme', 'Home', 'home', NULL, 1, 0);
         INSERT INTO user VALUES ('ada', 'ada@example.com', 'Ada', NULL, 0), ('bob', 'bob@example.com', 'Bob', NULL, 0);
         INSERT INTO org_member VALUES ('acme', 'ada', 'ADMIN', 0), ('acme', 'bob', 'MEMBER', 0);
         INSERT INTO team_member VALUES ('acme', 'home', 'bob', 'MEMBER', 0);",
    )
    .unwrap();
    let key = |key: &PlainKey, category: &str, user: Option<&str>, team: Option<&str>| {
        sql.execute(
            "INSERT INTO api_key (hash, prefix, org_id, category, user_id, team_id, created_at)
         VALUES (?1, ?2, 'acme', ?3, ?4, ?5, 0)",
            params![key.hash(), key.prefix(), category, user, team],
        )
        .unwrap();
    };
    key(&ada, "PERSONAL", Some("ada"), None);
    key(&bob, "PERSONAL", Some("bob"), None);
    key(&team, "WORKSPACE_MANAGE_ALL", None, Some("home"));
    key(&invoke, "WORKSPACE_INVOKE", None, Some("home"));
    [ada, bob, team, invoke]
}
