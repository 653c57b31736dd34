//! The views of the routes that the controller reads.

use std::sync::Arc;

use cluster::Current;
use ingress_routes::{RouteOptions, RouteTable, RoutingProblem};

/// The views that the controller reads.
#[derive(Clone)]
pub struct ControllerViews {
    /// The routes.
    pub table: Current<RouteTable>,
    /// The current problems of all views.
    pub problems: Arc<dyn Fn() -> Vec<RoutingProblem> + Send + Sync>,
    /// The options of the routes.
    pub options: RouteOptions,
}
