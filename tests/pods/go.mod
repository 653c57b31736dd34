// The program in the Pods of the cluster tests. It needs nothing but Go's standard library.
module portolan/tests/pods

go 1.25.0
