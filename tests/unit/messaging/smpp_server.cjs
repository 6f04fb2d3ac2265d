// A message centre made of the npm package `smpp`: says its port, then each submit_sm as it reads it.
// Argument: statuses with which the first messages are answered, with commas between.
const { createRequire } = require("node:module");
const smpp = createRequire(`${process.cwd()}/package.json`)("smpp");
const refuse = (process.argv[2] || "").split(",").filter((one) => one !== "").map(Number);
let count = 0;

const server = smpp.createServer((session) => {
  session.on("error", () => {});
  session.on("bind_transceiver", (pdu) => {
    const right = pdu.password === "secret08";
    session.send(pdu.response(right ? { system_id: "stranger" } : { command_status: smpp.ESME_RINVPASWD }));
  });
  session.on("enquire_link", (pdu) => session.send(pdu.response()));
  session.on("unbind", (pdu) => { session.send(pdu.response()); session.close(); });
  session.on("submit_sm", (pdu) => {
    const { message, udh } = pdu.short_message;
    const told = {
      text: message,
      parts: udh ? [udh[0][3] ?? udh[0].at(-2), udh[0].at(-1)] : null,
      destination: pdu.destination_addr,
      valid_s: Math.round((new Date(pdu.validity_period).getTime() - Date.now()) / 1000),
    };
    process.stdout.write(`${JSON.stringify(told)}\n`);
    const status = refuse.shift() ?? 0;
    count += 1;
    session.send(pdu.response(status ? { command_status: status } : { message_id: `m${count}` }));
    if (status) return;
    const text = `id:m${count} sub:001 dlvrd:001 submit date:2611221000 done date:2611221001 stat:DELIVRD err:000 text:`;
    session.deliver_sm({ source_addr: pdu.destination_addr, destination_addr: "DEMO", esm_class: 4, short_message: text });
  });
});
server.listen(0, "127.0.0.1", function () { process.stdout.write(`${this.address().port}\n`); });
