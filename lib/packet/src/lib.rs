//! The packet formats that etherparse lacks or only half has.
