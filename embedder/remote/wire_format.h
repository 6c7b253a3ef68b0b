#ifndef PITH_EMBEDDER_REMOTE_WIRE_FORMAT_H_
#define PITH_EMBEDDER_REMOTE_WIRE_FORMAT_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/matrix.h"
#include "embedder/remote/remote_model_spec.h"

// What the APIs over HTTP say: texts to request bodies, answers to vectors.
// None of these functions is for RemoteApi::kTeiGrpc.
namespace pith {

// Where texts are sent.
std::string EmbedUrl(const RemoteModelSpec& spec);

// A JSON body that asks for the vectors of `inputs`. OpenAI's API knows no
// truncation.
std::string EmbedRequestBody(const RemoteModelSpec& spec,
                             std::span<const std::string> inputs,
                             bool truncate);

// No sound answer with `inputs` vectors is larger.
size_t MaxEmbedResponseBytes(const RemoteModelSpec& spec, size_t inputs);

// The vectors in an answer, in the order of the inputs. kUnavailable if it is
// not the JSON, or not the number of vectors, that the API promises;
// kFailedPrecondition if a vector has not spec.dimension elements. A value that
// is no number is NaN: it concerns one input, not the answer.
absl::StatusOr<Matrix> ParseEmbedResponse(const RemoteModelSpec& spec,
                                          size_t inputs, std::string_view body);

// What the server says in the body of an error: its message, or all of a body
// that is no JSON.
std::string ErrorInBody(std::string_view body);

// OK if the body of text-embeddings-inference's /info describes a server that
// takes what `spec` says; else kFailedPrecondition with both values, or
// kUnavailable if it describes none.
absl::Status CheckTeiInfo(const RemoteModelSpec& spec, std::string_view body);

}  // namespace pith

#endif  // PITH_EMBEDDER_REMOTE_WIRE_FORMAT_H_
