// What js-libp2p takes for granted and Node.js 20 lacks. Imported before anything of libp2p.

Promise.withResolvers ??= function withResolvers() {
  const made = {};
  made.promise = new this((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};
