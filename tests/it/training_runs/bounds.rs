//! Teams take turns, and what jobs take is bounded.

use super::*;

#[test]
fn teams_take_turns() {
    let mut gym = Gym::with(training::Settings { jobs_max: 1, ..Default::default() });
    gym.stop();
    let (kites, abroad) = (gym.project("max", "research", "kites"), gym.project("ian", "inference", "kites"));
    let many: Vec<_> = (0..3).map(|_| gym.push("max", &kites, &["true"], Value::Null)).collect();
    let other = gym.push("ian", &abroad, &["true"], Value::Null);
    gym.start();
    many.iter().chain([&other]).for_each(|job| gym.completed(job));
    let begun = |job: &Pushed| -> i64 {
        let sql = gym.acme.server.sql();
        let number = "SELECT number FROM training_job_event WHERE job_id = ?1 AND status = 'TRAINING_JOB_RUNNING'";
        sql.query_row(number, [&job.id], |row| row.get(0)).unwrap()
    };
    assert!(begun(&other) < begun(&many[1]), "the other team waits for one job, not for all");
}

#[test]
fn what_a_team_keeps_is_bounded() {
    let gym = Gym::with(training::Settings { team_bytes_max: 1 << 20, ..Default::default() });
    let project = gym.project("max", "research", "kites");
    let command =
        "mkdir $BT_CHECKPOINT_DIR/a; dd if=/dev/zero of=$BT_CHECKPOINT_DIR/a/b bs=1M count=4 2>/dev/null; sleep 1000";
    let job = gym.push("max", &project, &[command], json!({ "checkpointing_config": { "enabled": true } }));
    assert!(gym.failed(&job).contains("it may have 1048576"));
    // The same room is not there for the next job.
    let next = gym.push("max", &project, &["sleep 1000"], Value::Null);
    assert!(gym.failed(&next).contains("delete jobs"));
    gym.acme.delete("max", &job.path);
}

#[test]
fn a_job_has_metrics_of_its_processes() {
    let gym = Gym::new();
    let project = gym.project("max", "research", "kites");
    let job = gym.push("max", &project, &["sleep 1000"], Value::Null);
    let path = format!("{}/metrics?start_epoch_millis={}&end_epoch_millis={}", job.path, BEGIN.0, BEGIN.0 + 600_000);
    let metrics = || gym.acme.get("max", &path);
    wait_until("a sample", || !metrics()["cpu_memory_usage_bytes"].as_array().unwrap().is_empty());
    assert_eq!(
        metrics()["cpu_usage"].as_array().unwrap().len(),
        metrics()["cpu_memory_usage_bytes"].as_array().unwrap().len()
    );
    gym.acme.post("max", &format!("{}/stop", job.path), json!({}));
}
