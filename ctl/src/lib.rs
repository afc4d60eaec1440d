//! The command line: weft nb, weft sb and their kin.
