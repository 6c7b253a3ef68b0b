#ifndef PITH_EMBEDDER_WORKER_PROTOCOL_H_
#define PITH_EMBEDDER_WORKER_PROTOCOL_H_

namespace pith {

// What daemon and worker agree on beside embedder.proto.

// Limit of one message. The largest is a response: texts of three tokens in a
// batch of 16,384, 4,096 dimensions, 90 MB.
inline constexpr int kMaxWorkerMessageBytes = 128 << 20;

// Tokens of one call. The daemon's batches have at most 16,384, or one text.
inline constexpr int kMaxWorkerCallTokens = 1 << 16;
// Of a request of so many, each a text of its own, with the longest ids.
inline constexpr int kMaxWorkerRequestBytes = 1 << 20;

// Of a file with certificates or a key; the roots of all the web take 230 KB.
inline constexpr int kMaxPemBytes = 1 << 20;

// Trailing metadata of an error that the model or its files are the reason of.
// gRPC and what lies between use the same codes for reasons of their own.
inline constexpr char kModelErrorMark[] = "pith-model-error";

// Trailing metadata of every answer: the process that gives it, 16 random bytes
// in hexadecimal from its start. One address, another instance: the process was
// started again.
inline constexpr char kInstanceKey[] = "pith-instance";

}  // namespace pith

#endif  // PITH_EMBEDDER_WORKER_PROTOCOL_H_
