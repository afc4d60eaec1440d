//! MAC, IP and CIDR addresses, port ranges and tunnel keys: types, parsing, printing.
