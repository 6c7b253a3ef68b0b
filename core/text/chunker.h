#ifndef PITH_CORE_TEXT_CHUNKER_H_
#define PITH_CORE_TEXT_CHUNKER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/token_counter.h"

namespace pith {

enum class TextFormat { kPlain, kMarkdown, kRestructuredText, kCode };

// The format that a file's name says; plain if it says nothing.
TextFormat FormatFromPath(std::string_view path);

struct ChunkOptions {
  // Passages are cut near this size, at structure: from about half of it to
  // 7/5 of it, or to TokenCounter::max_tokens() if that is less.
  int target_tokens = 200;
};

// A byte range of a document's text that is embedded and returned.
struct Chunk {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  // Headings that enclose the chunk's first line, itself included if it is
  // one, outermost first, joined by " > "; empty outside any heading.
  std::string heading_path;
};

struct ChunkedText {
  // The first heading (Markdown, reStructuredText) or empty.
  std::string title;
  // In order; they tile the text: the first starts at 0, each starts where the
  // last ended, the last ends at the end. Each holds a token, so there are none
  // for text without one, such as white space alone.
  std::vector<Chunk> chunks;
};

// Cuts `text`, which must be valid UTF-8, at structure (headings, paragraphs,
// blocks, lines, sentences) into chunks of about options.target_tokens tokens
// and never more than counter.max_tokens(), unless a single character with its
// marks has more. Words that are longer than 32 bytes a token count as if they
// were not, so that a chunk of text without white space is bounded too.
// Deterministic, and local: where a cut falls depends on the text near it
// alone, so an edit moves only the cuts around it, rarely more than two on
// either side. Linear in the size of the text.
ChunkedText ChunkText(std::string_view text, TextFormat format,
                      const ChunkOptions& options, const TokenCounter& counter);

}  // namespace pith

#endif  // PITH_CORE_TEXT_CHUNKER_H_
