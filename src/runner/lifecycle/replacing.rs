//! Brings a patch into replicas that run: by a hot reload where only the code of a Python model has changed, else by
//! starting them again.

use std::sync::Arc;

use super::steps::Calls;
use super::{Lifecycle, Report};
use crate::domain::serving::{Level, Status};
use crate::runner::builds::Built;
use crate::runner::reloads::{self, Reload};

/// How a hot reload ended.
pub enum End {
    Reloaded,
    /// The model refuses the new code, and goes on with the code from before.
    Refused(String),
    /// It cannot be reloaded, so that it must be started again.
    Impossible(Arc<Built>),
}

impl Lifecycle<'_> {
    /// Takes the next step of a deployment whose archive was patched.
    pub(super) fn update(&mut self, id: &str) {
        let source = self.source(id);
        let Some(entry) = self.entries.get_mut(id) else { return };
        let is_current = match (&source, &entry.built) {
            (Ok(Some(source)), Some(built)) => built.source == *source,
            (Ok(None), _) | (_, None) => false,
            (Err(cause), Some(_)) => {
                let why = format!("{cause:?}");
                return self.postpone(id, &why);
            }
        };
        if entry.live() == 0 && !is_current {
            entry.built = None; // it is built as usual, and then started
        } else if !is_current {
            entry.is_outdated = true;
        } else if entry.ready() > 0 && !entry.is_reloading {
            self.advance(id, Status::Active, Level::Info, "up to date");
        }
    }

    /// Uses a build in place of the one that runs.
    pub(super) fn replace(&mut self, id: &str, built: Arc<Built>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.is_outdated = false;
        let running: Vec<_> =
            entry.replicas.iter().filter(|slot| slot.is_ready()).filter_map(|slot| slot.process.clone()).collect();
        let before =
            entry.built.clone().filter(|before| running.len() == entry.live() && reloads::fits(before, &built));
        let tokens: Vec<String> =
            entry.replicas.iter().filter(|slot| slot.is_ready()).map(|slot| slot.token.clone()).collect();
        let Some(before) = before else { return self.start_again(id, built) };
        let (tell, deployment_id) = (self.tell.clone(), id.to_owned());
        entry.built = Some(Arc::clone(&built));
        entry.is_reloading = true;
        let work = move || {
            let end = match reloads::reload(&before, &built, running.iter().zip(&tokens)) {
                Reload::Done => End::Reloaded,
                Reload::Refused(why) => End::Refused(why),
                Reload::Impossible => End::Impossible(built),
            };
            tell.send(Report::Replaced { deployment_id, end });
        };
        if std::thread::Builder::new().name("reload".to_owned()).spawn(work).is_err() {
            self.postpone(id, "a thread cannot be started");
        }
    }

    pub(super) fn end_replacing(&mut self, id: &str, end: End) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.is_reloading = false;
        self.touched.insert(id.to_owned());
        match end {
            End::Reloaded => self.log(id, Level::Info, "patched: the model was reloaded".to_owned()),
            End::Refused(why) => self.log(
                id,
                Level::Error,
                format!(
                    "the patch is not used: the model could not be reloaded, and runs with its code from before: {why}"
                ),
            ),
            End::Impossible(built) => self.start_again(id, built),
        }
    }

    /// Starts the replicas again with another build.
    fn start_again(&mut self, id: &str, built: Arc<Built>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.built = Some(built);
        self.log(id, Level::Info, "patched: the model is started again".to_owned());
        self.configure(id);
        self.stop_all(id, Calls::Finish);
    }

    /// Goes on with what runs, because what the patch leads to cannot be built.
    pub(super) fn refuse_patch(&mut self, id: &str, why: &str) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.is_outdated = false;
        }
        let message = format!("the patch is not used, and what ran before runs on: {why}");
        self.advance(id, Status::Active, Level::Error, &message);
    }
}
