//! The logical-flow language: match and action, builders, parser, normaliser, interpreter.
