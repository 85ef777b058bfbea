#define REPAINT_TEST_NETWORKS template
#include "support/networks.hpp"
