//! Does the database enforce its own rules, whatever the code above it does? All tests use raw SQL.

use guildhall::db::directory::{Directory, Refusal};
use guildhall::db::{Db, Now};
use rusqlite::Connection;

use crate::seed::{self, WORLD};
use crate::test_server::{BEGIN, TestServer};
use crate::vocabulary::content;

const MOMENT: Now = Now { time: BEGIN, seed: [3; 32] };

/// A copy of the world, by a connection as strict as the server's.
fn world() -> (TestServer, Connection) {
    let server = WORLD.server();
    let sql = seed::open(server.data());
    (server, sql)
}

fn refused(sql: &Connection, statement: &str) -> String {
    let before = content(sql);
    let cause = sql.execute(statement, []).expect_err(statement);
    assert_eq!(content(sql), before, "{statement}");
    cause.to_string()
}

fn one<T: rusqlite::types::FromSql>(sql: &Connection, query: &str) -> T {
    sql.query_row(query, [], |row| row.get(0)).unwrap_or_else(|cause| panic!("{cause}: {query}"))
}

#[test]
fn sqlite_is_new_enough() {
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[test]
fn the_database_is_in_wal_mode() {
    let (_house, sql) = world();
    assert_eq!(one::<String>(&sql, "PRAGMA journal_mode"), "wal");
}

/// The pragmas of the server's own connections are its own: what they do is seen from outside.
#[test]
fn the_server_holds_foreign_keys() {
    let (server, sql) = world();
    sql.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM team_member WHERE team_id = 'research';").unwrap();
    let gone = server.send(Some(WORLD.keys.text("ada")), "DELETE", "/v1/teams/research?force=true", None);
    assert_eq!(gone.status, 200, "{}", gone.body);
    for table in ["secret", "model", "chain", "training_project", "environment_group"] {
        let left: i64 = one(&sql, &format!("SELECT count(*) FROM {table} WHERE team_id = 'research'"));
        assert_eq!(left, 0, "{table}");
    }
    assert_eq!(one::<i64>(&sql, "SELECT count(*) FROM secret_value WHERE secret_id = 'researchsecret'"), 0);
    assert_eq!(one::<i64>(&sql, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
}

#[test]
fn every_table_is_strict() {
    let (_house, sql) = world();
    let loose = "SELECT coalesce(group_concat(name), '') FROM pragma_table_list
                 WHERE schema = 'main' AND type = 'table' AND strict = 0
                   AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'refinery_%'";
    assert_eq!(one::<String>(&sql, loose), "");
    assert!(one::<i64>(&sql, "SELECT count(*) FROM pragma_table_list WHERE strict = 1") > 10);
}

#[test]
fn no_row_points_into_another_organization() {
    let (_house, sql) = world();
    for statement in [
        "INSERT INTO team_member VALUES ('acme', 'abroad', 'lone', 'MEMBER', 0)",
        "INSERT INTO team_member VALUES ('acme', 'research', 'fred', 'MEMBER', 0)",
        "INSERT INTO team_member VALUES ('globex', 'research', 'fred', 'MEMBER', 0)",
        "INSERT INTO secret VALUES ('abroad', 'x', 'acme', 'x', 'x', 1, 0, 0)",
        "UPDATE secret SET org_id = 'globex' WHERE id = 'researchsecret'",
        "UPDATE secret SET team_id = 'abroad', lookup = 'x' WHERE id = 'researchsecret'",
        "INSERT INTO model (id, org_id, team_id, name, instance_type, created_at) VALUES ('x', 'acme', 'abroad', 'x', '1x2', 0)",
        "UPDATE model SET team_id = 'abroad', name = 'x' WHERE id = 'researchmodel'",
        "INSERT INTO chain (id, org_id, team_id, name, created_at) VALUES ('x', 'acme', 'abroad', 'x', 0)",
        "UPDATE chain SET team_id = 'abroad', name = 'x' WHERE id = 'researchchain'",
        "INSERT INTO chain_environment (chain_id, name, org_id, team_id, created_at)
         VALUES ('abroadchain', 'x', 'acme', 'research', 0)",
        "INSERT INTO chain_deployment (id, org_id, team_id, chain_id, name, number, created_by, created_at)
         VALUES ('x', 'acme', 'research', 'abroadchain', 'x', 9, 'x', 0)",
        "UPDATE chain_deployment SET org_id = 'globex', team_id = 'abroad' WHERE id = 'researchchainidle'",
        "UPDATE chain_deployment SET chain_id = 'abroadchain', name = 'x', number = 9 WHERE id = 'researchchainidle'",
        "UPDATE chainlet SET chain_deployment_id = 'abroadchainidle', place = 9, name = 'x'
         WHERE id = 'researchchainidlehello'",
        "UPDATE chainlet SET org_id = 'globex', team_id = 'abroad' WHERE id = 'researchchainidlehello'",
        "INSERT INTO training_project (id, org_id, team_id, name, created_at, updated_at)
         VALUES ('x', 'acme', 'abroad', 'x', 0, 0)",
        "INSERT INTO environment_group (team_id, name, org_id, is_restricted, created_at) VALUES ('abroad', 'x', 'acme', 1, 0)",
        "INSERT INTO environment_group_user (team_id, name, org_id, user_id) VALUES ('research', 'staging', 'acme', 'fern')",
        "INSERT INTO environment_group_key (team_id, name, org_id, prefix)
         SELECT 'research', 'staging', 'acme', prefix FROM api_key WHERE team_id = 'abroad'",
        "INSERT INTO api_key_model (prefix, model_id, org_id, team_id)
         SELECT prefix, 'abroadmodel', 'acme', 'research' FROM api_key WHERE name = 'spare'",
        "INSERT INTO invitation_team (invitation_id, org_id, team_id, role) VALUES ('pending', 'acme', 'abroad', 'MEMBER')",
        "INSERT INTO model_environment (model_id, name, org_id, team_id, created_at)
         VALUES ('abroadmodel', 'x', 'acme', 'research', 0)",
        "UPDATE api_key SET team_id = 'abroad' WHERE name = 'spare'",
    ] {
        let cause = refused(&sql, statement);
        assert!(cause.contains("FOREIGN KEY") || cause.contains("cannot be"), "{cause}: {statement}");
    }
}

#[test]
fn within_the_organization_no_grant_reaches_past_its_team() {
    let (_house, sql) = world();
    for statement in [
        // In the organization, and not in the team; in another team; a key of another team; a model of another team.
        "INSERT INTO environment_group_user (team_id, name, org_id, user_id) VALUES ('research', 'staging', 'acme', 'lone')",
        "INSERT INTO environment_group_user (team_id, name, org_id, user_id) VALUES ('research', 'staging', 'acme', 'ian')",
        "INSERT INTO environment_group_key (team_id, name, org_id, prefix)
         SELECT 'research', 'staging', 'acme', prefix FROM api_key WHERE team_id = 'inference'",
        "INSERT INTO api_key_model (prefix, model_id, org_id, team_id)
         SELECT prefix, 'inferencemodel', 'acme', 'research' FROM api_key WHERE name = 'spare'",
        // A Chain's deployment of another team's Chain, and in its environment; a chainlet of its deployment.
        "UPDATE chain_deployment SET chain_id = 'inferencechain', name = 'x', number = 9 WHERE id = 'researchchainidle'",
        "UPDATE chain_deployment SET environment = 'nowhere' WHERE id = 'researchchainidle'",
        "UPDATE chainlet SET chain_deployment_id = 'inferencechainidle', place = 9, name = 'x'
         WHERE id = 'researchchainidlehello'",
        "UPDATE chainlet SET model_id = 'researchmodel' WHERE id = 'researchchainidlehello'",
        "UPDATE chain_deployment SET s3_key = 'chains/nothing' WHERE id = 'researchchainidle'",
    ] {
        assert!(refused(&sql, statement).contains("FOREIGN KEY"), "{statement}");
    }
}

#[test]
fn a_chainlet_is_of_its_chains_team_and_stays_with_its_chain() {
    let (_house, sql) = world();
    let insert = |id: &str, org: &str, team: &str, chain: &str| {
        format!(
            "INSERT INTO model (id, org_id, team_id, chain_id, name, instance_type, created_at)
             VALUES ('{id}', '{org}', '{team}', '{chain}', '{id}', '1x2', 0)"
        )
    };
    for (org, team, chain) in
        [("acme", "research", "inferencechain"), ("acme", "research", "abroadchain"), ("acme", "research", "nochain")]
    {
        assert!(refused(&sql, &insert("x", org, team, chain)).contains("Chain's team"), "{team} {chain}");
    }
    for statement in [
        "UPDATE model SET chain_id = 'inferencechain' WHERE id = 'researchchainidlehellomodel'",
        "UPDATE model SET chain_id = NULL WHERE id = 'researchchainidlehellomodel'",
        "UPDATE model SET chain_id = 'researchchain' WHERE id = 'researchmodel'",
        "UPDATE model SET team_id = 'inference', name = 'x' WHERE id = 'researchchainidlehellomodel'",
    ] {
        assert!(refused(&sql, statement).contains("keeps its Chain"), "{statement}");
    }
    sql.execute(&insert("x", "acme", "research", "researchchain"), []).unwrap();
}

#[test]
fn an_environment_of_a_chain_has_one_deployment_and_one_that_waits() {
    let (_house, sql) = world();
    for (statement, why) in [
        ("UPDATE chain_deployment SET environment = 'preview' WHERE id = 'researchchainidle'", "UNIQUE"),
        (
            "UPDATE chain_deployment SET candidate_for = 'preview', cleanup = 'KEEP' WHERE id = 'researchchainidle'",
            "UNIQUE",
        ),
        ("UPDATE chain_deployment SET number = 1 WHERE id = 'researchchainidle'", "UNIQUE"),
        ("UPDATE chain_deployment SET number = 0 WHERE id = 'researchchainidle'", "UNIQUE"),
        ("UPDATE chain_deployment SET candidate_for = 'trial' WHERE id = 'researchchainidle'", "CHECK"),
        ("UPDATE chain_deployment SET environment = 'trial' WHERE id = 'researchchaindevelopment'", "CHECK"),
        ("UPDATE chain_deployment SET cleanup = 'BURN' WHERE id = 'researchchainwaiting'", "CHECK"),
        (
            "UPDATE chainlet SET deployment_id = 'researchchainidlerandintmodelrun' WHERE id = 'researchchainidlehello'",
            "UNIQUE",
        ),
        ("UPDATE chainlet SET name = 'RandInt' WHERE id = 'researchchainidlehello'", "UNIQUE"),
        ("UPDATE chain_environment SET promotion = 'no json' WHERE chain_id = 'researchchain'", "CHECK"),
    ] {
        let cause = refused(&sql, statement);
        assert!(cause.contains(why), "{cause}: {statement}");
    }
}

#[test]
fn an_organization_has_one_default_team_and_keeps_it() {
    let (_house, sql) = world();
    refused(
        &sql,
        "INSERT INTO team (id, org_id, name, name_key, is_default, created_at) VALUES ('x', 'acme', 'X', 'x', 1, 0)",
    );
    refused(&sql, "UPDATE team SET is_default = 1 WHERE id = 'research'");
    refused(&sql, "UPDATE team SET is_default = 0 WHERE id = 'home'");
    refused(&sql, "UPDATE team SET org_id = 'globex', name_key = 'x' WHERE id = 'research'");
    let cause = refused(&sql, "DELETE FROM team WHERE id = 'home'");
    assert!(cause.contains("default team"), "{cause}");
    sql.execute("UPDATE team SET name = 'Commons', name_key = 'commons' WHERE id = 'home'", []).unwrap();
}

#[test]
fn an_organization_keeps_an_admin() {
    let (_house, sql) = world();
    for statement in [
        "DELETE FROM org_member WHERE user_id = 'fay'",
        "DELETE FROM org_member WHERE org_id = 'globex'",
        "UPDATE org_member SET role = 'MEMBER' WHERE user_id = 'fay'",
        "UPDATE org_member SET role = 'MEMBER'",
        "UPDATE org_member SET org_id = 'acme' WHERE user_id = 'fay'",
        "DELETE FROM org_member",
    ] {
        assert!(refused(&sql, statement).contains("keeps one active admin"), "{statement}");
    }
    sql.execute("UPDATE org_member SET role = 'MEMBER' WHERE user_id = 'grace'", []).unwrap();
    refused(&sql, "DELETE FROM org_member WHERE user_id = 'ada'");
}

#[test]
fn the_audit_log_is_append_only() {
    let (_house, sql) = world();
    let entry = "INSERT INTO audit (org_id, created_at, event_type, event_data, actor_type, source)
                 VALUES ('acme', 0, 'TEAM_CREATED', '{}', 'USER', 'API')";
    sql.execute(entry, []).unwrap();
    for statement in [
        "DELETE FROM audit",
        "UPDATE audit SET event_type = 'X'",
        &entry.replace("INSERT", "REPLACE").replace("(org_id", "(id, org_id").replace("('acme'", "(1, 'acme'"),
    ] {
        assert!(refused(&sql, statement).contains("append-only"), "{statement}");
    }
}

#[test]
fn team_membership_requires_organization_membership_and_goes_with_it() {
    let (_house, sql) = world();
    sql.execute("INSERT INTO user (id, email, name, created_at) VALUES ('nobody', 'n@example.com', 'N', 0)", [])
        .unwrap();
    refused(&sql, "INSERT INTO team_member VALUES ('acme', 'research', 'nobody', 'MEMBER', 0)");
    sql.execute("INSERT INTO environment_group_user VALUES ('research', 'staging', 'acme', 'max')", []).unwrap();
    sql.execute("DELETE FROM org_member WHERE org_id = 'acme' AND user_id = 'max'", []).unwrap();
    assert_eq!(one::<i64>(&sql, "SELECT count(*) FROM team_member WHERE user_id = 'max'"), 0);
    assert_eq!(one::<i64>(&sql, "SELECT count(*) FROM environment_group_user WHERE user_id = 'max'"), 0);
}

#[test]
fn names_are_unique_where_the_documents_say_so() {
    let (_house, sql) = world();
    for statement in [
        "INSERT INTO team (id, org_id, name, name_key, is_default, created_at) VALUES ('x', 'acme', 'RESEARCH', 'research', 0, 0)",
        "INSERT INTO model (id, org_id, team_id, name, instance_type, created_at) VALUES ('x', 'acme', 'research', 'llama', '1x2', 0)",
        "INSERT INTO chain (id, org_id, team_id, name, created_at) VALUES ('x', 'acme', 'research', 'rag', 0)",
        "INSERT INTO training_project (id, org_id, team_id, name, created_at, updated_at) VALUES ('x', 'acme', 'research', 'tune', 0, 0)",
        "INSERT INTO secret VALUES ('research', 'token', 'acme', 'x', 'TOKEN', 1, 0, 0)",
        "INSERT INTO organization VALUES ('x', 'ACME', 'acme', 1, 0)",
        "INSERT INTO user (id, email, name, created_at) VALUES ('x', 'max@example.com', 'X', 0)",
        "UPDATE api_key SET name = 'spare' WHERE name = 'invoke'",
        "UPDATE deployment SET name = 'development' WHERE id = 'researchidle'",
        "UPDATE chain_deployment SET name = 'development' WHERE id = 'researchchainidle'",
    ] {
        assert!(refused(&sql, statement).contains("UNIQUE"), "{statement}");
    }
    // A revoked key's name is free again.
    sql.execute("UPDATE api_key SET revoked_at = 1 WHERE name = 'spare'", []).unwrap();
    sql.execute("UPDATE api_key SET name = 'spare' WHERE name = 'invoke'", []).unwrap();
}

#[test]
fn roles_and_categories_are_those_of_the_documents() {
    let (_house, sql) = world();
    for statement in [
        "UPDATE org_member SET role = 'OWNER' WHERE user_id = 'max'",
        "UPDATE team_member SET role = 'OWNER' WHERE user_id = 'max'",
        "UPDATE api_key SET category = 'ROUTES' WHERE name = 'spare'",
        "UPDATE api_key SET category = 'PERSONAL' WHERE name = 'spare'",
        "UPDATE api_key SET team_id = NULL WHERE name = 'spare'",
        "UPDATE api_key SET user_id = 'max' WHERE name = 'spare'",
        "UPDATE api_key SET category = 'WORKSPACE_MANAGE_API_KEYS' WHERE name = 'spare'",
    ] {
        assert!(refused(&sql, statement).contains("CHECK"), "{statement}");
    }
}

#[test]
fn migrating_twice_changes_nothing() {
    let (server, sql) = world();
    let before = (content(&sql), structure(&sql));
    drop(sql);
    let data = server.shut();
    drop(Db::open(Directory::take(data.path()).unwrap(), MOMENT).expect("it opens again"));
    let sql = seed::open(data.path());
    assert_eq!((content(&sql), structure(&sql)), before);
}

mod released {
    refinery::embed_migrations!("migrations");
}

/// A database as the release with this last migration left it, and what these statements wrote there.
fn of_release(version: i32, rows: &str) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let mut sql = Connection::open(data.path().join("guildhall.db")).unwrap();
    let runner = released::migrations::runner().set_grouped(true);
    runner.set_target(refinery::Target::Version(version)).run(&mut sql).unwrap();
    sql.execute_batch(rows).unwrap_or_else(|cause| panic!("{cause}: {rows}"));
    data
}

#[test]
fn every_released_schema_migrates_to_the_fresh_one() {
    let fresh = structure(&seed::open(TestServer::empty().data()));
    for version in [1, 2, 3, 5, 7, 13] {
        let data = of_release(version, "");
        drop(Db::open(Directory::take(data.path()).unwrap(), MOMENT).expect("it opens"));
        assert_eq!(structure(&seed::open(data.path())), fresh, "from V{version}");
    }
}

#[test]
fn before_a_migration_the_database_is_copied() {
    let newest: i64 = one(&seed::open(TestServer::empty().data()), "SELECT max(version) FROM refinery_schema_history");
    let data = of_release(5, "INSERT INTO organization VALUES ('acme', 'Acme', 'acme', 1, 0);");
    for old in ["guildhall.schema-1.db", "guildhall.schema-2.db", "guildhall.schema-3.db"] {
        std::fs::write(data.path().join(old), "").unwrap();
    }
    let db = Db::open(Directory::take(data.path()).unwrap(), MOMENT).expect("it opens");
    let migrated = db.migrated().expect("it was migrated").clone();
    assert_eq!((migrated.from, i64::from(migrated.to)), (5, newest));
    assert_eq!(migrated.copy, data.path().join("guildhall.schema-5.db"));
    let mode = std::os::unix::fs::MetadataExt::mode(&migrated.copy.metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let copy = Connection::open(&migrated.copy).unwrap();
    assert_eq!(one::<i64>(&copy, "SELECT max(version) FROM refinery_schema_history"), 5);
    assert_eq!(one::<String>(&copy, "SELECT name FROM organization"), "Acme");
    assert_eq!(one::<String>(&copy, "PRAGMA integrity_check"), "ok");
    let names = std::fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let copies = names.filter(|name| name.starts_with("guildhall.schema-") && name.ends_with(".db"));
    assert_eq!(copies.count(), 2, "older copies give way");
    drop(db);
    let again = Db::open(Directory::take(data.path()).unwrap(), MOMENT).expect("it opens");
    assert!(again.migrated().is_none());
}

#[test]
fn invitations_of_the_release_before_end_with_the_standing_of_their_inviter() {
    let data = of_release(
        7,
        "INSERT INTO organization VALUES ('acme', 'Acme', 'acme', 1, 0);
         INSERT INTO user (id, email, name, created_at) VALUES
             ('ada', 'ada@e.org', 'Ada', 0), ('max', 'max@e.org', 'Max', 0), ('gone', 'gone@e.org', 'Gone', 0);
         INSERT INTO org_member VALUES ('acme', 'ada', 'ADMIN', 0), ('acme', 'max', 'MEMBER', 0);
         INSERT INTO invitation (id, org_id, email, role, token_hash, invited_by, created_at, expires_at) VALUES
             ('of-ada', 'acme', 'a@e.org', 'MEMBER', randomblob(32), 'ada', 0, 9),
             ('of-max', 'acme', 'b@e.org', 'MEMBER', randomblob(32), 'max', 0, 9),
             ('of-gone', 'acme', 'c@e.org', 'MEMBER', randomblob(32), 'gone', 0, 9);",
    );
    drop(Db::open(Directory::take(data.path()).unwrap(), MOMENT).expect("it opens"));
    let sql = seed::open(data.path());
    let open = "SELECT group_concat(id) FROM invitation WHERE revoked_at IS NULL";
    assert_eq!(one::<String>(&sql, open), "of-ada");
}

#[test]
fn an_archive_of_the_release_before_keeps_its_name() {
    let data = of_release(
        5,
        "INSERT INTO organization VALUES ('acme', 'Acme', 'acme', 1, 0);
         INSERT INTO upload (s3_key, org_id, api_key_prefix, sha256, bytes, uploaded_at)
         VALUES ('models/old', 'acme', 'guild_somebody', randomblob(32), 7, 0);",
    );
    let name = |sql: &Connection, column: &str| one::<String>(sql, &format!("SELECT hex({column}) FROM upload"));
    let before = name(&seed::open(data.path()), "sha256");
    drop(Db::open(Directory::take(data.path()).unwrap(), MOMENT).expect("it opens"));
    assert_eq!(name(&seed::open(data.path()), "hash"), before);
}

#[test]
fn a_chain_of_the_release_before_gets_its_production() {
    let data = of_release(
        5,
        "INSERT INTO organization VALUES ('acme', 'Acme', 'acme', 1, 0);
         INSERT INTO team (id, org_id, name, name_key, is_default, created_at) VALUES ('home', 'acme', 'Default', 'default', 1, 0);
         INSERT INTO chain (id, org_id, team_id, name, created_at)
         VALUES ('bare', 'acme', 'home', 'bare', 7), ('staged', 'acme', 'home', 'staged', 8), ('full', 'acme', 'home', 'full', 9);
         INSERT INTO chain_environment (chain_id, name, org_id, team_id, created_at)
         VALUES ('staged', 'staging', 'acme', 'home', 8), ('full', 'production', 'acme', 'home', 10);
         INSERT INTO model (id, org_id, team_id, name, instance_type, created_at)
         VALUES ('llama', 'acme', 'home', 'llama', '1x2', 0);",
    );
    drop(Db::open(Directory::take(data.path()).unwrap(), MOMENT).expect("it opens"));
    let sql = seed::open(data.path());
    let environments: String = one(
        &sql,
        "SELECT group_concat(chain_id || ' ' || name || ' ' || created_at, ', ')
         FROM (SELECT * FROM chain_environment ORDER BY chain_id, name)",
    );
    assert_eq!(environments, "bare production 7, full production 10, staged production 8, staged staging 8");
    assert_eq!(one::<i64>(&sql, "SELECT sum(published) FROM chain"), 0);
    assert_eq!(one::<Option<String>>(&sql, "SELECT chain_id FROM model"), None, "a model stays the team's own");
    assert_eq!(one::<i64>(&sql, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
}

/// Names were not unique in releases before. Every deployment keeps one by which it can be told from the others.
#[test]
fn deployments_that_shared_a_name_are_told_apart() {
    let data = of_release(
        7,
        "INSERT INTO organization VALUES ('acme', 'Acme', 'acme', 1, 0);
         INSERT INTO team (id, org_id, name, name_key, is_default, created_at) VALUES ('home', 'acme', 'Default', 'default', 1, 0);
         INSERT INTO model (id, org_id, team_id, name, instance_type, created_at)
         VALUES ('llama', 'acme', 'home', 'llama', '1x2', 0), ('other', 'acme', 'home', 'other', '1x2', 0);
         INSERT INTO chain (id, org_id, team_id, name, created_at) VALUES ('rag', 'acme', 'home', 'rag', 0);
         INSERT INTO deployment (id, org_id, team_id, model_id, name, number, status, config, instance_type, autoscaling,
                                 backpressure, created_by, created_at, updated_at)
         SELECT value ->> 0, 'acme', 'home', value ->> 1, value ->> 2, value ->> 3, 'ACTIVE', '{}', '1x2', '{}',
                'QUEUE_ON_FULL', 'x', value ->> 4, 0
         FROM json_each('[[\"d0\", \"llama\", \"development\", 0, 5000], [\"d1\", \"llama\", \"blue\", 1, 5000],
                          [\"d2\", \"llama\", \"blue\", 2, 6000], [\"d3\", \"llama\", \"blue\", 3, 6999],
                          [\"d4\", \"llama\", \"development\", 4, 7000], [\"d5\", \"llama\", \"blue.6\", 5, 8000],
                          [\"d6\", \"other\", \"blue\", 1, 5000]]');
         INSERT INTO chain_deployment (id, org_id, team_id, chain_id, name, number, created_by, created_at)
         VALUES ('c1', 'acme', 'home', 'rag', 'blue', 1, 'x', 5000), ('c2', 'acme', 'home', 'rag', 'blue', 2, 'x', 6000),
                ('c3', 'acme', 'home', 'rag', 'development', 3, 'x', 7000);",
    );
    drop(Db::open(Directory::take(data.path()).unwrap(), MOMENT).expect("it opens"));
    let sql = seed::open(data.path());
    let names = |table: &str| {
        one::<String>(&sql, &format!("SELECT group_concat(name, ' ') FROM (SELECT name FROM {table} ORDER BY id)"))
    };
    // Two were made in one second, and one was called so already.
    assert_eq!(names("deployment"), "development blue blue.6 blue.6.d3 development.7 blue.6.d5 blue");
    assert_eq!(names("chain_deployment"), "blue blue.6 development.7");
}

/// Memberships are stored in another order since, and grants refer to them.
#[test]
fn memberships_of_the_release_before_keep_their_grants() {
    let data = of_release(
        13,
        "INSERT INTO organization VALUES ('acme', 'Acme', 'acme', 1, 0);
         INSERT INTO team (id, org_id, name, name_key, is_default, created_at)
         VALUES ('home', 'acme', 'Default', 'default', 1, 0), ('lab', 'acme', 'Lab', 'lab', 0, 0);
         INSERT INTO user (id, email, name, created_at) VALUES ('max', 'm@e.org', 'Max', 0), ('tess', 't@e.org', 'Tess', 0);
         INSERT INTO org_member VALUES ('acme', 'max', 'MEMBER', 0), ('acme', 'tess', 'ADMIN', 0);
         INSERT INTO team_member (org_id, team_id, user_id, role, created_at)
         VALUES ('acme', 'lab', 'max', 'MEMBER', 3), ('acme', 'lab', 'tess', 'ADMIN', 4), ('acme', 'home', 'max', 'ADMIN', 5);
         INSERT INTO environment_group (team_id, name, org_id, is_restricted, created_at) VALUES ('lab', 'live', 'acme', 1, 0);
         INSERT INTO environment_group_user (team_id, name, org_id, user_id) VALUES ('lab', 'live', 'acme', 'max');",
    );
    drop(Db::open(Directory::take(data.path()).unwrap(), MOMENT).expect("it opens"));
    let sql = seed::open(data.path());
    let members = "SELECT group_concat(team_id || ' ' || user_id || ' ' || role || ' ' || created_at, ', ')
                   FROM (SELECT * FROM team_member ORDER BY team_id, user_id)";
    assert_eq!(one::<String>(&sql, members), "home max ADMIN 5, lab max MEMBER 3, lab tess ADMIN 4");
    let grants = "SELECT group_concat(team_id || ' ' || name || ' ' || user_id) FROM environment_group_user";
    assert_eq!(one::<String>(&sql, grants), "lab live max");
    assert_eq!(one::<i64>(&sql, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    sql.execute("DELETE FROM team_member WHERE team_id = 'lab' AND user_id = 'max'", []).unwrap();
    assert_eq!(one::<i64>(&sql, "SELECT count(*) FROM environment_group_user"), 0, "a grant ends with the membership");
}

fn structure(sql: &Connection) -> String {
    one(sql, "SELECT group_concat(coalesce(sql, name), ';') FROM (SELECT * FROM sqlite_schema ORDER BY type, name)")
}

#[test]
fn a_newer_schema_than_the_binary_is_refused_untouched() {
    let (server, sql) = world();
    sql.execute(
        "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
         VALUES (9999, 'later', '2030-01-01T00:00:00Z', '1')",
        [],
    )
    .unwrap();
    drop(sql);
    let data = server.shut();
    let before = std::fs::read(data.path().join("guildhall.db")).unwrap();
    let refused = Db::open(Directory::take(data.path()).unwrap(), MOMENT);
    assert!(refused.is_err());
    assert_eq!(std::fs::read(data.path().join("guildhall.db")).unwrap(), before);
}

#[test]
fn a_wrong_master_key_is_refused_untouched() {
    let data = WORLD.server().shut();
    let other = TestServer::empty().shut();
    let key = "f".repeat(64);
    std::fs::write(data.path().join("master.key"), key).unwrap();
    let before = std::fs::read(data.path().join("guildhall.db")).unwrap();
    let refused = Db::open(Directory::take(data.path()).unwrap(), MOMENT);
    assert!(refused.is_err_and(|cause| format!("{cause:?}").contains("master key")));
    assert_eq!(std::fs::read(data.path().join("guildhall.db")).unwrap(), before);
    drop(other);
}

#[test]
fn a_data_directory_has_one_holder() {
    let server = TestServer::empty();
    let second = Directory::take(server.data());
    assert!(matches!(second, Err(Refusal::Held(Some(pid))) if pid == std::process::id()));
    let data = server.shut();
    assert!(Directory::take(data.path()).is_ok(), "the lock goes with its holder");
}

#[test]
fn what_is_secret_lies_sealed_or_hashed() {
    let (server, sql) = world();
    let canary = "canary-4f1d8a";
    let body = serde_json::json!({ "name": "canary", "value": canary });
    let set = server.send(Some(WORLD.keys.text("ada")), "POST", "/v1/teams/research/secrets", Some(body));
    assert_eq!(set.status, 200, "{}", set.body);
    sql.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(sql);
    let data = server.shut();
    let bytes = std::fs::read(data.path().join("guildhall.db")).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(WORLD.keys.prefix("ada")), "a key is known by its prefix");
    assert!(!holds(WORLD.keys.text("ada")), "and nothing more of it");
    assert!(!holds(canary));
}
