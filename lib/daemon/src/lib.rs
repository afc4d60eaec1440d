//! What all daemons share: arguments, logging, control socket, signals, metrics.
