//! OpenFlow 1.5 and the Nicira extensions: codec and session, without I/O.
