// What the other budgets are measured by: standard headers that nearly every program includes. Never change it: every
// number in budgets.txt would mean something else.
#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <variant>
#include <vector>

int main() {}
