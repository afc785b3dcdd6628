//! Who reads metrics.

use guildhall::policy::metrics::Measured;
use guildhall::policy::{Caller, TeamCategory};

use super::{ada, forbidden, key, key_for_models, key_manager, lone, max, not_found, team};

fn ask(caller: &Caller, of: Measured) -> Result<(), guildhall::error::Error> {
    let research = team("research");
    let reader = caller.to_read_metrics(&research, of)?;
    assert!(std::ptr::eq(reader.team(), &research));
    Ok(())
}

#[test]
fn whoever_views_the_team_reads_its_metrics_and_so_does_a_key_that_exports_them() {
    for caller in [ada(), max(), key(TeamCategory::ManageAll), key(TeamCategory::ExportMetrics)] {
        ask(&caller, Measured::Model("llama")).unwrap();
        ask(&caller, Measured::NoModel).unwrap();
    }
    for caller in [key(TeamCategory::Invoke), key_manager()] {
        assert!(forbidden(ask(&caller, Measured::NoModel)).ends_with("\"View team resources\""));
    }
    assert_eq!(not_found(ask(&lone(), Measured::NoModel)), "team");
    let elsewhere = team("inference");
    assert_eq!(not_found(key(TeamCategory::ExportMetrics).to_read_metrics(&elsewhere, Measured::NoModel)), "team");
}

#[test]
fn a_key_narrowed_to_models_reads_the_metrics_of_these_alone() {
    let one = key_for_models(TeamCategory::ExportMetrics, &["llama"]);
    let several = key_for_models(TeamCategory::ExportMetrics, &["llama", "whisper"]);
    let none = key_for_models(TeamCategory::ExportMetrics, &[]);
    ask(&one, Measured::Model("llama")).unwrap();
    ask(&several, Measured::Model("whisper")).unwrap();
    let told = |key: &Caller, of| forbidden(ask(key, of));
    assert_eq!(
        told(&one, Measured::Model("whisper")),
        "this key is narrowed to the model llama and reads the metrics of nothing else"
    );
    assert_eq!(
        told(&several, Measured::NoModel),
        "this key is narrowed to the models llama, whisper and reads the metrics of nothing else"
    );
    assert_eq!(
        told(&none, Measured::Model("llama")),
        "this key is narrowed to models that are all deleted and reads the metrics of nothing else"
    );
}
