//! A row of the page table.

use crate::api::passwords::Work;
use crate::api::path_template::PathTemplate;
use crate::console::context::{Access, PageContext};
use crate::db::Tx;
use crate::error::Error;
use crate::policy::Caller;

/// One page, or one form of a page.
#[derive(Clone, Copy)]
pub struct Page {
    pub method: &'static str,
    /// The path, with `{name}` where a segment is free.
    pub template: &'static str,
    pub access: Access,
    pub run: Run,
    /// Where a form stands. A page has none.
    pub stands: Option<Stands>,
    /// Whether the form only revokes, removes or deletes.
    pub deletes: Deletes,
}

/// The page on which a form stands. A form that is refused is shown there again.
#[derive(Clone, Copy, Debug)]
pub struct Stands {
    /// The template of the page.
    pub page: &'static str,
    /// The dialog of the page that holds the form. Empty if the form stands in the page itself.
    pub dialog: &'static str,
}

/// How a request is carried out.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// In a read transaction, on the thread that received the request.
    Read,
    /// In a read transaction on the pool, because it may read much.
    Search,
    /// In a transaction of the writer.
    Write,
    /// By [`sign_in`](crate::api::sign_in), which opens its own transactions.
    SignIn,
    /// In a transaction of the writer, after the work on a password that this function finds.
    Password(FindWork),
}

/// Finds the work on a password that a form needs, in a read transaction.
pub type FindWork = fn(&Tx, Option<&Caller>, &PageContext) -> Result<Option<Work>, Error>;

/// Whether a form may be sent although the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    Yes,
    No,
}

impl Page {
    pub(super) const fn searching(self) -> Page {
        Page { run: Run::Search, ..self }
    }

    pub(super) const fn with_password(self, find_work: FindWork) -> Page {
        Page { run: Run::Password(find_work), ..self }
    }

    pub(super) const fn signing_in(self) -> Page {
        Page { run: Run::SignIn, ..self }
    }

    pub(super) const fn deleting(self) -> Page {
        Page { deletes: Deletes::Yes, ..self }
    }
}

/// A page.
pub(super) const fn get(template: &'static str, access: Access) -> Page {
    Page { method: "GET", template, access, run: Run::Read, stands: None, deletes: Deletes::No }
}

/// A form that stands in a dialog of a page, or in the page itself if `dialog` is empty.
pub(super) const fn post(template: &'static str, access: Access, page: &'static str, dialog: &'static str) -> Page {
    let stands = Some(Stands { page, dialog });
    Page { method: "POST", template, access, run: Run::Write, stands, deletes: Deletes::No }
}

/// A page together with its path, split into segments.
pub struct Row {
    pub page: Page,
    pub path: PathTemplate,
}

impl Row {
    pub fn of(page: Page) -> Row {
        Row { path: PathTemplate::new(page.template), page }
    }
}
