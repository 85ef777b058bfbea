// Every target has a source; this one's precompiled header is what counts.
