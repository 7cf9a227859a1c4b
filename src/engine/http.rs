//! HTTP on the wire. Written by the lead.
