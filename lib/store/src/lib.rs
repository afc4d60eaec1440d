//! The replicated store: raft-rs over the table engine, storage, monitors, server shell.
