// Looks names up as Node programs do, by `lookup` (the C library) or `resolve4` (c-ares), whichever the first argument says:
// `NAME ADDRESSES MILLISECONDS`, a line each; `-` where there is no such name.
const dns = require('dns').promises;

const [how, ...names] = process.argv.slice(2);
const resolver = new dns.Resolver({ timeout: 20000, tries: 2 });
const ways = {
  lookup: async (name) => (await dns.lookup(name, { all: true })).map((entry) => entry.address),
  resolve4: (name) => resolver.resolve4(name),
};

(async () => {
  for (const name of names) {
    const begun = Date.now();
    let found;
    try {
      found = (await ways[how](name)).join(',');
    } catch (error) {
      found = ['ENOTFOUND', 'ENODATA'].includes(error.code) ? '-' : `fault:${error.code}`;
    }
    console.log(name, found, Date.now() - begun);
  }
})();
