//! The law of projections: advancing equals building.

use cluster::testing::{histories, hold};
use proptest::prelude::{ProptestConfig, proptest};

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn advancing_equals_building(history in histories()) {
        let options = Options { watch_ingress_without_class: true, ..Options::default() };
        hold(|| TableIndex::new(options.clone()), history);
    }

    #[test]
    fn advancing_equals_building_by_class(history in histories()) {
        hold(|| TableIndex::new(Options::default()), history);
    }
}
