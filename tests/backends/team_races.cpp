// Drives the team of threads as trainings do, for a compiler's check of races: several callers ask
// for it at once, work in chunks and work together with barriers take turns, and one thread of the
// callers works alone. Ends with 1 where a number is not what one thread would have computed.
#include <cstdio>
#include <vector>

#include "../../kernels/host/team.h"

using gpubp::team;

namespace {

// Add up 1 + ... + count in chunks that whoever is awake takes.
bool in_chunks(int members, long count) {
  std::atomic<long> next{0}, total{0};
  const auto take = [&](int) {
    for (long i = next++; i < count; i = next++) total += i + 1;
  };
  if (!team().run(members, false, take)) take(0);
  return total == count * (count + 1) / 2;
}

// Double and then shift numbers by one place, with barriers between the phases, some times over.
// The numbers are no atomics: only the barriers keep the members apart.
bool together(int members, int rounds) {
  std::vector<long> here(64, 1), there(64, 0);
  const auto work = [&](int member, int all) {
    for (int round = 0; round < rounds; ++round) {
      for (size_t i = member; i < here.size(); i += all) there[i] = 2 * here[i];
      if (all > 1) team().barrier();
      for (size_t i = member; i < here.size(); i += all) here[i] = there[(i + 1) % 64] / 2 + 1;
      if (all > 1) team().barrier();
    }
  };
  const auto of_team = [&](int member) { work(member, members); };
  if (members == 1 || !team().run(members, true, of_team)) work(0, 1);
  for (const long value : here) {
    if (value != 1 + rounds) return false;
  }
  return true;
}

}  // namespace

int main() {
  std::atomic<bool> right{true};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&, caller] {
      gpubp::works_alone = caller == 2;
      for (int time = 0; time < 150; ++time) {
        const int members = 1 + (time + caller) % 4;
        if (!in_chunks(members, 100) || !together(members, 1 + time % 3)) right = false;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  std::puts(right ? "right" : "wrong");
  return right ? 0 : 1;
}
