//! The context of a page: what was asked for, by whom, and what came back from a form that was refused.

use crate::api::access::{self, Context, Surface};
use crate::api::passwords::Outcome;
use crate::api::path_template::PathTemplate;
use crate::api::{Listener, Reply, Request};
use crate::console::form::Form;
use crate::console::session::Session;
use crate::domain::calls::Callee;
use crate::domain::{Paging, Team};
use crate::error::Error;
use crate::policy::Operator;
use crate::wire;

/// How many rows of a list a page shows.
pub const ROWS_MAX: usize = 50;

/// The kind of table that holds pages.
#[derive(Clone, Copy, Debug)]
pub struct Console;

impl Surface for Console {
    type Context<'c> = PageContext<'c>;
    type Reply = Reply;
}

/// Who may use a page.
pub type Access = access::Access<Console>;

/// A request for a page.
pub struct PageContext<'r> {
    pub request: &'r Request,
    pub path: &'r PathTemplate,
    pub session: Option<&'r Session>,
    pub(super) given: &'r Given<'r>,
}

impl<'r> std::ops::Deref for PageContext<'r> {
    type Target = Given<'r>;

    fn deref(&self) -> &Given<'r> {
        self.given
    }
}

/// What a page is given besides its request.
#[derive(Clone, Copy)]
pub struct Given<'g> {
    pub form: &'g Form,
    /// The form that was refused, if this page shows one again.
    pub refused: Option<&'g Refused>,
    /// The outcome of the work on a password.
    pub password: &'g Outcome,
    /// The proof that the link of the first run gives.
    pub operator: Option<&'g Operator>,
}

impl<'g> Given<'g> {
    pub fn of(form: &'g Form) -> Given<'g> {
        Given { form, refused: None, password: &Outcome::Nothing, operator: None }
    }
}

/// A form that was refused, and where it stands.
pub struct Refused {
    pub dialog: &'static str,
    /// What the dialog is about: the last free segment of the form's path, if its page has none there.
    pub about: String,
    pub message: String,
    pub status: u16,
}

impl PageContext<'_> {
    /// The segment of the path that the page calls `{name}`.
    pub fn param(&self, name: &str) -> &str {
        let at = self.path.position(name).expect("the page has the parameter that its access and handler ask for");
        &self.request.path[at]
    }

    /// A parameter of the query. A parameter that was not given is empty.
    pub fn query(&self, name: &str) -> &str {
        let found = self.request.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.trim()).unwrap_or_default()
    }

    /// The dialog that the page shows, and what it is about.
    pub fn dialog(&self) -> (&str, &str) {
        match self.refused {
            Some(refused) => (refused.dialog, &refused.about),
            None => (self.query("dialog"), self.query("about")),
        }
    }

    /// Whether the page shows this dialog.
    pub fn shows(&self, dialog: &str) -> bool {
        self.dialog().0 == dialog
    }

    /// Checks that the name of what is to be deleted was typed.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if something else was typed.
    pub fn confirm(&self, name: &str) -> Result<(), Error> {
        if self.form.text("confirm") == name {
            return Ok(());
        }
        Err(Error::Invalid("type the name exactly as it is shown to confirm".to_owned()))
    }

    /// The page of the list `list` that `cursor` asks for.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a cursor that no page of this list returned.
    pub fn paging(&self, list: &str) -> Result<Paging, Error> {
        let after = match self.query("cursor") {
            "" => String::new(),
            cursor => wire::read_cursor(list, cursor)
                .ok_or_else(|| Error::field("cursor", "is not one of this list: begin at its first page"))?,
        };
        Ok(Paging { after, items_max: ROWS_MAX })
    }

    /// The path that was asked for, with its segments encoded.
    pub fn own_path(&self) -> String {
        path_of(&self.request.path)
    }
}

/// Joins segments to a path. Each segment is encoded.
pub fn path_of(segments: &[String]) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    let encoded = segments.iter().map(|segment| format!("/{}", utf8_percent_encode(segment, KEPT)));
    encoded.collect()
}

/// A redirect to a page of the console, with GET.
pub fn to(path: &str) -> Reply {
    let mut reply = Reply::bytes("text/html; charset=utf-8", Vec::new());
    reply.status = 303;
    reply.headers.push(("location", path.to_owned()));
    reply
}

impl Context for PageContext<'_> {
    fn named(&self, name: &str) -> Result<&str, Error> {
        Ok(self.param(name))
    }

    fn listener(&self) -> Listener {
        self.request.from
    }

    /// A page is sent to no model.
    fn callee(&self) -> Option<&Callee> {
        None
    }

    fn note_team(&self, team: &Team) {
        self.request.log.note_team(team);
    }
}
