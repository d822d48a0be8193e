// A program run: by the team or by the caller alone, whichever is found to be faster.
#pragma once
#include <chrono>

#include "dense_operations.h"
#include "embedding_operations.h"
#include "lookup_operations.h"
#include "mixing_operations.h"
#include "normalization_operations.h"
#include "periodic_operations.h"
#include "product_operations.h"
#include "schedule.h"
#include "threads.h"
#include "update_operations.h"

namespace gpubp {

template <typename T>
struct Operation {
  const char* name;
  void (*add)(Program&, const Call&, const Blas&);
};

template <typename T>
void add_call(Program& program, const Call& call, const Blas& blas) {
  static const Operation<T> table[] = {
      {"gather_batch", add_gather<T>},
      {"multiply", add_multiply<T>},
      {"add", add_sum<T>},
      {"activate", add_activate<T>},
      {"activate_backward", add_activate_backward<T>},
      {"mix", add_mix<T>},
      {"mix_backward", add_mix_backward<T>},
      {"dropout", add_dropout<T>},
      {"loss", add_loss<T>},
      {"normalize_rows", add_normalize_rows<T>},
      {"normalize_columns", add_normalize_columns<T>},
      {"scale_columns", add_scale_columns<T>},
      {"sum_products", add_sum_products<T>},
      {"normalize_rows_backward", add_normalize_rows_backward<T>},
      {"normalize_columns_backward", add_normalize_columns_backward<T>},
      {"find_bins", add_find_bins<T>},
      {"embed_numbers", add_embed_numbers<T>},
      {"embed_numbers_backward", add_embed_numbers_backward<T>},
      {"embed_numbers_slope", add_embed_numbers_slope<T>},
      {"embed_categories", add_embed_categories<T>},
      {"embed_categories_backward", add_embed_categories_backward<T>},
      {"embed_periodic", add_embed_periodic<T>},
      {"embed_periodic_backward", add_embed_periodic_backward<T>},
      {"embed_periodic_slope", add_embed_periodic_slope<T>},
      {"accumulate", add_accumulate<T>},
      {"convert", add_convert<T>},
      {"average", add_average<T>},
      {"penalize", add_penalize<T>},
      {"add_squares", add_add_squares<T>},
      {"clip", add_clip<T>},
      {"clip_norm", add_clip_norm<T>},
      {"limit_norms", add_limit_norms<T>},
      {"update", add_update<T>},
      {"find_overflow", add_find_overflow<T>},
      {"finish_step", add_finish_step<T>},
  };
  for (const Operation<T>& operation : table)
    if (call.name == operation.name)
      return program.add_operation([&] { operation.add(program, call, blas); });
  throw Refusal(call.name + " is no operation of a program");
}

// Do what a part does of phases that go together: each chunk as far as it goes.
inline void run_part(const Phase* first, const Phase* end, const Member& member, int part) {
  const size_t place = static_cast<size_t>(part), chunks = first->shares[place].size();
  for (const Phase* phase = first; phase < end; ++phase)
    if (phase->prepare) phase->prepare(part);
  for (size_t chunk = 0; chunk < chunks; ++chunk)
    for (const Phase* phase = first; phase < end; ++phase)
      phase->work(member, phase->shares[place][chunk]);
}

// Do steps of a program as one member of a team.
inline void run_member(const Program& program, int number, int members, int64 steps,
                       char* scalars) {
  const Member member{number, scalars};
  const std::vector<Phase>& phases = program.phases();
  for (size_t i = 0; i < program.scalars().size(); ++i) {
    const Scalar& scalar = program.scalars()[i];
    std::memcpy(scalars + i * SCALAR_ROOM, scalar.array, static_cast<size_t>(scalar.bytes));
  }
  for (int64 step = 0; step < steps; ++step)
    for (size_t at = 0; at < phases.size();) {
      const size_t first = at;
      if (phases[first].barrier && members > 1) team().barrier();
      while (phases[at++].with_next) {
      }
      if (phases[first].split == EVERYWHERE)
        phases[first].work(member, phases[first].shares[0][0]);
      else
        for (int part = number; part < program.parts(); part += members)
          run_part(&phases[first], &phases[first] + (at - first), member, part);
    }
  if (members > 1) team().barrier();  // all have read the scalars
  if (number == 0)
    for (size_t i = 0; i < program.scalars().size(); ++i) {
      const Scalar& scalar = program.scalars()[i];
      std::memcpy(scalar.array, scalars + i * SCALAR_ROOM, static_cast<size_t>(scalar.bytes));
    }
}

// Do steps of a program; `scalars` has room for every part.
inline void run_program(const Program& program, Threads& threads, char* scalars, int64 steps) {
  const size_t room = program.scalars().size() * SCALAR_ROOM;
  const int most = works_alone ? 1 : program.parts();
  threads.share_out(most, steps, [&](int members, int64 count) {
    const auto start = std::chrono::steady_clock::now();
    const auto work = [&](int member) {
      run_member(program, member, members, count, scalars + static_cast<size_t>(member) * room);
    };
    if (members == 1 || !team().run(members, true, work)) run_member(program, 0, 1, count, scalars);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  });
}

}  // namespace gpubp
