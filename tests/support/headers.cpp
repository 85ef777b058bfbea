// Not compiled: the test `headers` takes the options of this file, which links every library.
