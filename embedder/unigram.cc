#include "embedder/unigram.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_format.h"
#include "unicode/uchar.h"
#include "unicode/utf8.h"

#include "core/text/utf8.h"

namespace pith {
namespace {

// What an unknown character scores below the worst piece.
constexpr double kUnknownPenalty = 10;

// The last of equal pieces first, which is the one that a trie keeps.
std::vector<std::pair<std::string_view, int32_t>> LastFirst(
    std::span<const std::pair<std::string, double>> pieces) {
  std::vector<std::pair<std::string_view, int32_t>> entries;
  entries.reserve(pieces.size());
  for (size_t i = pieces.size(); i-- > 0;) {
    entries.emplace_back(pieces[i].first, static_cast<int32_t>(i));
  }
  return entries;
}

// How many bytes the character that begins with `lead` has.
size_t CharacterLength(char lead) {
  return static_cast<size_t>(U8_COUNT_TRAIL_BYTES_UNSAFE(lead)) + 1;
}

}  // namespace

// The best way to cut up a word as far as here.
struct Unigram::Node {
  double score = 0;
  // Where its last piece begins; meaningless before one ends here.
  size_t begin = 0;
  int32_t id = -1;
};

struct Unigram::Scratch {
  std::string spaced;
  std::vector<Node> nodes;
  // Of the best way, the last piece first: where it begins, and its id.
  std::vector<std::pair<size_t, int32_t>> path;
};

Unigram::Unigram(const Options& options)
    : trie_(LastFirst(options.pieces)),
      unknown_id_(options.unknown_id),
      split_at_white_space_(options.split_at_white_space),
      sign_(options.sign),
      prepend_(options.prepend),
      split_at_sign_(options.split_at_sign) {
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [piece, score] : options.pieces) {
    scores_.push_back(score);
    least = std::min(least, score);
  }
  unknown_score_ = least - kUnknownPenalty;
  if (options.byte_fallback) {
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[static_cast<size_t>(byte)] =
          trie_.Value(absl::StrFormat("<0x%02X>", byte));
    }
  }
}

void Unigram::Tokenize(std::string_view text, bool begins_input,
                       LimitedIds& ids) const {
  Scratch scratch;
  if (!split_at_white_space_) {
    AddSpaced(text, begins_input, scratch, ids);
    return;
  }
  size_t word_begin = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    if (!u_isUWhiteSpace(NextCodePoint(text, &i))) {
      continue;
    }
    if (word_begin < begin) {
      AddSpaced(text.substr(word_begin, begin - word_begin),
                begins_input && word_begin == 0, scratch, ids);
    }
    word_begin = i;
  }
  if (word_begin < text.size()) {
    AddSpaced(text.substr(word_begin), begins_input && word_begin == 0, scratch,
              ids);
  }
}

void Unigram::AddSpaced(std::string_view text, bool begins_input,
                        Scratch& scratch, LimitedIds& ids) const {
  std::string& spaced = scratch.spaced;
  spaced.clear();
  if (!text.starts_with(' ') && !text.starts_with(sign_) &&
      (prepend_ == Prepend::kAlways ||
       (prepend_ == Prepend::kFirst && begins_input))) {
    spaced += sign_;
  }
  for (const char c : text) {
    if (c == ' ') {
      spaced += sign_;
    } else {
      spaced += c;
    }
  }
  const std::string_view rest = spaced;
  for (size_t begin = 0; begin < rest.size();) {
    const size_t end = split_at_sign_
                           ? std::min(rest.find(sign_, begin + 1), rest.size())
                           : rest.size();
    AddWord(rest.substr(begin, end - begin), scratch, ids);
    begin = end;
  }
}

void Unigram::AddWord(std::string_view word, Scratch& scratch,
                      LimitedIds& ids) const {
  std::vector<Node>& nodes = scratch.nodes;
  nodes.assign(word.size() + 1, {});
  for (size_t begin = 0; begin < word.size();) {
    const double before = nodes[begin].score;
    const auto offer = [&](size_t length, int32_t id, double score) {
      Node& node = nodes[begin + length];
      if (node.id < 0 || before + score > node.score) {
        node = {.score = before + score, .begin = begin, .id = id};
      }
    };
    const size_t character = CharacterLength(word[begin]);
    bool character_is_piece = false;
    trie_.ForEachMatch(TokenTrie::kRoot, word.substr(begin),
                       [&](TokenTrie::Match match) {
                         offer(match.length, match.value,
                               scores_[static_cast<size_t>(match.value)]);
                         character_is_piece |= match.length == character;
                       });
    if (!character_is_piece) {
      offer(character, unknown_id_, unknown_score_);
    }
    begin += character;
  }
  scratch.path.clear();
  for (size_t end = word.size(); end > 0; end = nodes[end].begin) {
    scratch.path.emplace_back(nodes[end].begin, nodes[end].id);
  }
  const auto& path = scratch.path;
  for (size_t i = path.size(); i-- > 0;) {
    const auto [begin, id] = path[i];
    if (id != unknown_id_) {
      ids.Add(id);
      continue;
    }
    // Neighbouring unknown pieces are one.
    while (i > 0 && path[i - 1].second == unknown_id_) {
      --i;
    }
    const size_t end = i > 0 ? path[i - 1].first : word.size();
    AddUnknown(word.substr(begin, end - begin), ids);
  }
}

void Unigram::AddUnknown(std::string_view text, LimitedIds& ids) const {
  // Pieces that are unknown one by one may be a known one together.
  if (const std::optional<int32_t> id = trie_.Value(text); id.has_value()) {
    ids.Add(*id);
    return;
  }
  const auto byte_id = [&](char c) {
    return byte_ids_[static_cast<uint8_t>(c)];
  };
  const bool has_bytes =
      std::ranges::all_of(text, [&](char c) { return byte_id(c).has_value(); });
  if (!has_bytes) {
    ids.Add(unknown_id_);
    return;
  }
  for (const char c : text) {
    ids.Add(*byte_id(c));
  }
}

}  // namespace pith
