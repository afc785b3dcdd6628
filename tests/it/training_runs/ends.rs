//! Order, statuses, reasons, logs, the environment, stops and restarts.

use super::*;

/// Whether a process with this command line runs on the machine, its arguments separated by NUL. Inside of its own
/// namespace a process has another number than outside.
fn runs(command_line: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|process| {
        let found = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        found.trim_end_matches('\0') == command_line
    })
}

#[test]
fn commands_run_in_order_where_the_archive_is_and_the_log_has_what_they_print() {
    let gym = Gym::new();
    let project = gym.project("max", "research", "kites");
    let commands = [
        "sh train.sh && cat data/words && echo kept > ~/kept",
        "cat ~/kept && printf '{\"levelname\": \"WARNING\", \"message\": \"hot\"}\\n' && [ \"$PWD\" = \"$BT_WORKING_DIR\" ]",
    ];
    let job = gym.push("max", &project, &commands, Value::Null);
    gym.completed(&job);
    let log = gym.log(&job);
    let own: Vec<_> = log.iter().map(String::as_str).filter(|line| !line.starts_with("The image")).collect();
    let [first, second, third, trains, rest @ ..] = own.as_slice() else { panic!("{log:?}") };
    assert_eq!([*first, *second, *third], ["Waits for the trainer.", "Runs.", "Start command 1 of 2."]);
    assert!(trains.starts_with("trains in /") && trains.ends_with("workspace"), "{trains}");
    assert_eq!(rest, ["one two", "Start command 2 of 2.", "kept", "hot", "Completed."]);
    let warnings =
        gym.acme.get("max", &format!("{}/logs?min_level=WARNING&end_epoch_millis={}", job.path, BEGIN.0 + 600_000));
    assert_eq!(all(&warnings["logs"], "message"), ["hot"]);
    assert_eq!(gym.job(&job)["error_message"], Value::Null);
    wait_until("the folder of the job to go", || names(&gym.folder("research").join("jobs")).is_empty());
}

#[test]
fn the_first_command_that_fails_ends_the_job_with_its_status() {
    let gym = Gym::new();
    let project = gym.project("max", "research", "kites");
    let job = gym.push("max", &project, &["echo one", "exit 7", "echo never"], Value::Null);
    assert_eq!(gym.failed(&job), "a start command ended with status 7");
    let log = gym.log(&job);
    assert!(log.contains(&"one".to_owned()) && !log.contains(&"never".to_owned()), "{log:?}");
    assert_eq!(log.last().map(String::as_str), Some("Failed: a start command ended with status 7"));
}

#[test]
fn what_one_machine_has_not_is_told_and_not_started() {
    let gym = Gym::new();
    let project = gym.project("max", "research", "kites");
    let refused = |commands: &[&str], more: Value| {
        let job = gym.push("max", &project, commands, more);
        text(&gym.wait_for(&job, "TRAINING_JOB_DEPLOY_FAILED")["error_message"])
    };
    let gpu = json!({ "compute": { "accelerator": { "accelerator": "H100", "count": 2 } } });
    assert!(refused(&["true"], gpu).contains("asks for 2 accelerator(s) of the kind H100"));
    assert!(refused(&["true"], json!({ "compute": { "node_count": 2 } })).contains("node_count"));
    assert!(refused(&[], Value::Null).contains("no start commands"));
    let named = json!({ "environment_variables": { "A=B": "x" } });
    assert!(refused(&["true"], named).contains("`A=B` cannot be the name"));
}

#[test]
fn accelerators_are_ignored_where_the_operator_says_so() {
    let gym = Gym::on(training::Settings::default(), Missing::Ignore);
    let project = gym.project("max", "research", "kites");
    let gpu = json!({ "compute": { "accelerator": { "accelerator": "H100", "count": 2 } } });
    gym.completed(&gym.push("max", &project, &["[ $BT_NUM_GPUS = 0 ]"], gpu));
}

#[test]
fn a_stopped_job_gets_a_chance_to_end_and_its_whole_tree_ends() {
    let gym = Gym::new();
    let project = gym.project("max", "research", "kites");
    let command = "trap 'echo saves; exit 0' TERM; sleep 73001 & echo begun; wait";
    let job = gym.push("max", &project, &[command], Value::Null);
    gym.wait_for_line(&job, "begun");
    wait_until("its child", || runs("sleep\u{0}73001"));
    gym.acme.post("max", &format!("{}/stop", job.path), json!({}));
    assert_eq!(gym.status(&job), "TRAINING_JOB_STOPPED");
    gym.wait_for_line(&job, "saves");
    wait_until("the end of its child", || !runs("sleep\u{0}73001"));
    assert_eq!(gym.status(&job), "TRAINING_JOB_STOPPED", "its end changes nothing");
}

#[test]
fn a_deleted_job_ends_and_leaves_no_files() {
    let gym = Gym::new();
    let project = gym.project("max", "research", "kites");
    let keeps = json!({ "checkpointing_config": { "enabled": true } });
    let command = "mkdir $BT_CHECKPOINT_DIR/step-1; echo x > $BT_CHECKPOINT_DIR/step-1/file; sleep 73002";
    let job = gym.push("max", &project, &[command], keeps);
    wait_until("its child", || runs("sleep\u{0}73002"));
    gym.acme.delete("max", &job.path);
    wait_until("the end of its process", || !runs("sleep\u{0}73002"));
    wait_until("its folders to go", || {
        ["jobs", "checkpoints"].iter().all(|name| names(&gym.folder("research").join(name)).is_empty())
    });
}

#[test]
fn secrets_reach_the_jobs_of_their_own_team_alone() {
    let gym = Gym::new();
    gym.secret("max", "research", "token", "of research");
    gym.secret("ian", "inference", "token", "of inference");
    let variables =
        json!({ "environment_variables": { "TOKEN": { "name": "token" }, "PLAIN": "p", "BT_NODE_RANK": "9" } });
    for (who, team) in [("max", "research"), ("ian", "inference")] {
        let project = gym.project(who, team, "kites");
        let job = gym.push(
            who,
            &project,
            &["echo $TOKEN, $PLAIN, $BT_NODE_RANK, $BT_TRAINING_PROJECT_NAME"],
            variables.clone(),
        );
        gym.completed(&job);
        assert!(gym.log(&job).contains(&format!("of {team}, p, 0, kites")), "{:?}", gym.log(&job));
    }
}

#[test]
fn a_secret_that_is_deleted_while_a_job_waits_is_named() {
    let mut gym = Gym::new();
    gym.stop();
    gym.secret("max", "research", "token", "value");
    let project = gym.project("max", "research", "kites");
    let variables = json!({ "environment_variables": { "TOKEN": { "name": "token" } } });
    let job = gym.push("max", &project, &["true"], variables);
    gym.acme.delete("max", "/v1/teams/research/secrets/token");
    gym.start();
    let why = text(&gym.wait_for(&job, "TRAINING_JOB_DEPLOY_FAILED")["error_message"]);
    assert!(why.starts_with("`TOKEN` names the secret `token`") && why.contains("Research"), "{why}");
}

#[test]
fn jobs_that_ran_when_the_server_stopped_have_failed_and_others_go_on() {
    let mut gym = Gym::new();
    let project = gym.project("max", "research", "kites");
    let ran = gym.push("max", &project, &["echo begun; sleep 1000"], Value::Null);
    gym.wait_for_line(&ran, "begun");
    gym.stop();
    assert_eq!(gym.status(&ran), "TRAINING_JOB_FAILED");
    let waits = gym.push("max", &project, &["echo runs"], Value::Null);
    assert_eq!(gym.status(&waits), "TRAINING_JOB_DEPLOYING");
    // As a server leaves it that was killed.
    gym.acme.run(&format!("UPDATE training_job SET status = 'TRAINING_JOB_RUNNING' WHERE id = '{}'", ran.id));
    gym.start();
    gym.completed(&waits);
    assert!(gym.failed(&ran).contains("the server was restarted"));
}

#[test]
fn a_job_that_ended_the_server_twice_is_not_begun_again() {
    let mut gym = Gym::new();
    gym.stop();
    let project = gym.project("max", "research", "kites");
    let job = gym.push("max", &project, &["true"], Value::Null);
    gym.acme.run(&format!("UPDATE training_job SET attempts = 2 WHERE id = '{}'", job.id));
    gym.start();
    let why = text(&gym.wait_for(&job, "TRAINING_JOB_DEPLOY_FAILED")["error_message"]);
    assert!(why.contains("the server ended each time"), "{why}");
}

#[test]
fn the_end_of_a_job_lets_the_next_of_the_queue_begin() {
    let gym = Gym::on(training::Settings::default(), Missing::Ignore);
    let ceiling = json!({ "team_id": "research", "gpu_type": "H100", "max_gpus": 1 });
    gym.acme.patch("ada", "/v1/training/capacity", ceiling);
    let project = gym.project("max", "research", "kites");
    let gpu = json!({ "compute": { "accelerator": { "accelerator": "H100", "count": 1 } } });
    let first = gym.push("max", &project, &["sleep 1"], gpu.clone());
    let second = gym.push("max", &project, &["echo second"], gpu);
    assert_eq!(gym.status(&second), "TRAINING_JOB_PENDING");
    gym.completed(&first);
    gym.completed(&second);
}
