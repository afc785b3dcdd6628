//! A data directory with a given number of people, memberships and keys. Each team has ten secrets.

use std::path::{Path, PathBuf};

use guildhall::db::directory::Directory;
use guildhall::db::{Db, Now};
use guildhall::domain::Time;
use guildhall::token::PlainKey;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rusqlite::{Connection, params};

const SECRETS_PER_TEAM: usize = 10;
const PEOPLE_PER_TEAM: usize = 10;
const NOW: i64 = 1_793_491_200_000;

pub struct World {
    data: tempfile::TempDir,
    /// Each with the team whose secrets it may list.
    pub keys: Vec<(String, String)>,
}

impl World {
    /// An organization of so many people, ten in a team.
    pub fn with_keys(count: usize) -> World {
        World::with_teams_of(PEOPLE_PER_TEAM, count)
    }

    /// An organization of so many people, so many of them in a team.
    pub fn with_teams_of(people_per_team: usize, count: usize) -> World {
        let data = tempfile::tempdir_in(target()).expect("a directory beside the build");
        make_schema(data.path());
        let sql = Connection::open(data.path().join("guildhall.db")).expect("the database is there");
        sql.execute_batch("PRAGMA synchronous = OFF; BEGIN").expect("a transaction");
        let keys = fill(&sql, people_per_team, count).expect("rows that the schema takes");
        sql.execute_batch("COMMIT; ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)").expect("the rows are written");
        World { data, keys }
    }

    pub fn path(&self) -> &Path {
        self.data.path()
    }
}

/// On the disk that the build is on: a temporary directory may be memory, whose fsync costs nothing.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).to_owned()
}

fn make_schema(path: &Path) {
    let directory = Directory::take(path).expect("nobody else holds it");
    drop(Db::open(directory, Now { time: Time(NOW), seed: [1; 32] }).expect("it opens"));
}

/// One organization, and a person with a personal key for each key.
fn fill(sql: &Connection, people_per_team: usize, count: usize) -> rusqlite::Result<Vec<(String, String)>> {
    let mut rng = StdRng::seed_from_u64(7);
    sql.execute("INSERT INTO organization VALUES ('org', 'Large', 'large', 1, ?1)", params![NOW])?;
    sql.execute("INSERT INTO team VALUES ('default', 'org', 'Default', 'default', NULL, 1, ?1)", params![NOW])?;
    let mut keys = Vec::with_capacity(count);
    for person in 0..count {
        let (team, user) = (format!("team{}", person / people_per_team), format!("user{person}"));
        if person % people_per_team == 0 {
            fill_team(sql, &team)?;
        }
        sql.prepare_cached("INSERT INTO user VALUES (?1, ?1 || '@example.com', ?1, NULL, ?2)")?
            .execute(params![user, NOW])?;
        sql.prepare_cached("INSERT INTO org_member VALUES ('org', ?1, 'MEMBER', ?2)")?.execute(params![user, NOW])?;
        sql.prepare_cached("INSERT INTO team_member VALUES ('org', ?1, ?2, 'MEMBER', ?3)")?
            .execute(params![team, user, NOW])?;
        let key = PlainKey::generate(&mut rng);
        sql.prepare_cached(
            "INSERT INTO api_key (hash, prefix, org_id, category, user_id, created_at, last_used_at)
             VALUES (?1, ?2, 'org', 'PERSONAL', ?3, ?4, ?5)",
        )?
        // Last used in a time to come: what is measured is reading, not the noting of use.
        .execute(params![key.hash(), key.prefix(), user, NOW, NOW * 2])?;
        keys.push((key.reveal().to_owned(), team));
    }
    Ok(keys)
}

fn fill_team(sql: &Connection, team: &str) -> rusqlite::Result<()> {
    sql.prepare_cached("INSERT INTO team VALUES (?1, 'org', ?1, ?1, NULL, 0, ?2)")?.execute(params![team, NOW])?;
    for secret in 0..SECRETS_PER_TEAM {
        let name = format!("secret_{secret}");
        sql.prepare_cached("INSERT INTO secret VALUES (?1, ?2, 'org', ?1 || ?2, ?2, 1, ?3, ?3)")?
            .execute(params![team, name, NOW])?;
    }
    Ok(())
}
