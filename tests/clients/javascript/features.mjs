// Does what its first argument names with the `ollama` package, with what the second tells as JSON; what came of it goes
// to the output as JSON.
import { Ollama } from "ollama";

const feature = process.argv[2];
const { host, token, chat: MODEL, embedder, caller, seer, say, question, pictures } = JSON.parse(process.argv[3]);
const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
const ollama = new Ollama({ host, headers });
const hello = [{ role: "user", content: say }];
const options = { temperature: 0, num_predict: 12 };

async function joined(stream, piece) {
  const pieces = [];
  for await (const part of stream) pieces.push(piece(part));
  return pieces.join("");
}

const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather in a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

const features = {
  async chat() {
    const whole = await ollama.chat({ model: MODEL, messages: hello, options });
    const stream = await ollama.chat({ model: MODEL, messages: hello, options, stream: true });
    return [whole.message.content, await joined(stream, (part) => part.message.content)];
  },
  async completion() {
    const asked = { model: MODEL, prompt: say, options };
    const whole = await ollama.generate(asked);
    const stream = await ollama.generate({ ...asked, stream: true });
    return [whole.response, await joined(stream, (part) => part.response)];
  },
  async abort() {
    const endless = { temperature: 0, num_predict: -1, num_ctx: 2048 };
    const messages = [{ role: "user", content: "Count to a thousand." }];
    const stream = await ollama.chat({ model: MODEL, messages, options: endless, stream: true });
    try {
      for await (const _ of stream) stream.abort();
    } catch (error) {
      return error.name;
    }
  },
  async tools() {
    const messages = [{ role: "user", content: "How is the weather in Paris?" }];
    const asked = { model: caller, messages, tools: [weather], options: { temperature: 0 } };
    return (await ollama.chat(asked)).message.tool_calls.map((call) => call.function);
  },
  async structure() {
    const properties = { size: { enum: ["small", "large"] }, capital: { type: "boolean" } };
    const format = { type: "object", properties, required: ["size", "capital"] };
    const messages = [{ role: "user", content: "Tell me about Paris as JSON." }];
    const asked = { model: MODEL, messages, format, options: { temperature: 0, num_predict: 200 } };
    return JSON.parse((await ollama.chat(asked)).message.content);
  },
  async images() {
    const about = async (picture) => {
      const messages = [{ role: "user", content: question, images: [picture] }];
      return (await ollama.chat({ model: seer, messages, options })).message.content;
    };
    return [await about(pictures[0]), await about(pictures[1])];
  },
  async embeddings() {
    return (await ollama.embed({ model: embedder, input: ["one", "two"] })).embeddings;
  },
  async models() {
    await ollama.generate({ model: MODEL, prompt: "", keep_alive: "5m" });
    const names = async (listed) => (await listed).models.map((model) => model.name);
    const { details } = await ollama.show({ model: MODEL });
    return [await names(ollama.list()), details.family, await names(ollama.ps())];
  },
  async changes() {
    await ollama.create({ model: "js", from: MODEL, system: "Be brief." });
    await ollama.copy({ source: "js", destination: "js-copy" });
    const { system } = await ollama.show({ model: "js-copy" });
    await ollama.delete({ model: "js" });
    await ollama.delete({ model: "js-copy" });
    return system;
  },
  async errors() {
    try {
      await ollama.chat({ model: "nope", messages: hello });
    } catch (error) {
      return [error.status_code, error.message];
    }
  },
};

console.log(JSON.stringify(await features[feature]()));
