//! The store as the hub uses it: on a disk, over restarts, with kills and damage.
