//! Real hosts for the filter, and the tests that need them.
