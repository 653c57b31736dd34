// CustomResourceDefinitions at fixed versions, which the tests read from these modules; see tests/src/programs.rs.
module portolan/tests/definitions

go 1.26.0

require (
	github.com/kedacore/keda/v2 v2.21.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
)
