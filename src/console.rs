//! The console: pages for people, rendered by the server.
//!
//! [`pages`] lists every page and form once: method, path, who may use it and which handler answers it. [`dispatch`] takes
//! each request through the same steps as a request of the API, with the same access forms and the same verbs of `db`. A
//! page shows what its caller may see, and says why a button is disabled; it decides nothing itself.
//!
//! Every page works without JavaScript. Forms answer with a redirect; a form that is refused comes back with what was
//! typed and the reason. No page loads anything from another site.

mod account;
mod activity;
mod api_keys;
mod assets;
mod billing;
mod chains;
mod choices;
mod context;
mod deployments;
pub mod dispatch;
mod environments;
mod errors;
mod form;
mod frame;
mod links;
mod members;
mod model_apis;
mod models;
mod overview;
mod page;
mod pager;
pub mod pages;
mod permissions;
mod rendering;
mod secrets;
mod session;
mod sign_in;
mod team_members;
mod teams;
mod training;
mod view;

pub use context::PageContext;
pub use page::Page;
