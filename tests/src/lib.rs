//! End-to-end tests: real Open vSwitch in network namespaces.
