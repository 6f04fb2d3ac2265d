import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Key;
import java.security.KeyStore;
import java.security.Security;
import java.security.cert.Certificate;
import org.bouncycastle.jce.provider.BouncyCastleProvider;

/** Copies the key entry of a PKCS #12 file into one of BouncyCastle's. Arguments: source, its pass-phrase, target, a file with the target's. */
public class Bundle {
  public static void main(String[] given) throws Exception {
    Security.addProvider(new BouncyCastleProvider());
    char[] theirs = given[1].toCharArray();
    KeyStore source = KeyStore.getInstance("PKCS12", "BC");
    try (FileInputStream in = new FileInputStream(given[0])) {
      source.load(in, theirs);
    }
    char[] secret = Files.readString(Path.of(given[3])).toCharArray();
    KeyStore target = KeyStore.getInstance("PKCS12", "BC");
    target.load(null, null);
    String alias = source.aliases().nextElement();
    Key key = source.getKey(alias, theirs);
    Certificate[] chain = source.getCertificateChain(alias);
    target.setKeyEntry(alias, key, null, chain);
    try (FileOutputStream out = new FileOutputStream(given[2])) {
      target.store(out, secret);
    }
  }
}
