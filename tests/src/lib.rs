//! An installed Meridian on a bed: operators, command line, joined members and their history.

mod api_server;
mod circles;
mod dependencies;
mod fleet;
mod history;
pub mod manifests;
mod operator;
pub mod scenario;
mod stored;
mod wording;

pub use api_server::ApiServer;
pub use circles::circles;
pub use dependencies::forbidden;
pub use fleet::{Fleet, FleetPlan, SOON, Way, condition, desired};
pub use history::{History, Version};
pub use operator::{Operator, Times};
pub use stored::is_readable;
pub use wording::violations;
